"""Given a version that is served under load, when another is promoted, then …"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from examples.demo.kubectl import Kubectl, condition, is_current, run
from examples.demo.traffic import Client, Endpoint, Record
from tests.e2e.rollouts.models import COLUMNS, rows

Json = dict[str, Any]
API_VERSION = "modelyard.dev/v1alpha1"
SETTLED_SECONDS = 400.0
GATEWAY = {"name": "modelyard", "namespace": "projectcontour"}


def request(count: int = 1, first: int = 0) -> str:
    """Return a request of `count` rows."""
    data = rows().iloc[first : first + count]
    return json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": data.values.tolist()}})


@dataclass
class Rollouts:
    """One model and one deployment that follows its Production stage, under names of their own."""

    kubectl: Kubectl
    sources: Sequence[str]
    """Where the files of versions 1, 2, … are."""

    name: str = field(default_factory=lambda: f"r-{uuid.uuid4().hex[:8]}")

    @property
    def host(self) -> str:
        """The host by which the model is asked."""
        return f"{self.name}.example.com"

    @property
    def endpoint(self) -> Endpoint:
        """Where the model is asked: Envoy."""
        return Endpoint(os.environ.get("MODELYARD_INGRESS", "http://127.0.0.1:18080"), self.host)

    def given(self, rest: Json, version: int = 1, *, route: bool = False) -> None:
        """Serve a version. `route`: through the Gateway instead of an Ingress."""
        outside: Json = {"ingress": {"host": self.host}}
        if route:
            outside = {"gateway": {"parentRef": GATEWAY, "hostname": self.host}}
        versions = [{"version": number, "source": source} for number, source in enumerate(self.sources, start=1)]
        self._apply("RegisteredModel", {"versions": versions, "stages": {"production": version}})
        spec = {"model": {"name": self.name, "stage": "Production"}, "rest": {**outside, **rest}}
        self._apply("ModelDeployment", spec)
        self.served(version)
        self.answered(str(version))

    def _apply(self, kind: str, spec: Json) -> None:
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": self.name}, "spec": spec}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def promote(self, version: int) -> None:
        """Edit the one number."""
        self.kubectl.patch("registeredmodel", self.name, {"spec": {"stages": {"production": version}}})

    def annotate(self, **annotations: str | None) -> None:
        """Set or remove annotations of ours."""
        named = {f"modelyard.dev/{name}": value for name, value in annotations.items()}
        self.kubectl.patch("modeldeployment", self.name, {"metadata": {"annotations": named}})

    def edit(self, spec: Json) -> None:
        """Change the deployment."""
        self.kubectl.patch("modeldeployment", self.name, {"spec": spec})

    # What is waited for

    def until(self, holds: Callable[[Json], bool], seconds: float = SETTLED_SECONDS) -> Json:
        """Wait until it holds of the deployment, with a status of its newest spec."""
        return self.kubectl.wait_for(
            "modeldeployment", self.name, lambda body: is_current(body) and holds(body), seconds
        )

    def served(self, version: int, seconds: float = SETTLED_SECONDS) -> Json:
        """Wait until that version is served, whole, and nothing else is left."""

        def holds(body: Json) -> bool:
            status = body["status"]
            return (
                condition(body, "Ready").get("status") == "True"
                and status["served"]["version"] == version
                and not status.get("draining")
            )

        return self.until(holds, seconds)

    def reason(self, reason: str, seconds: float = 180.0) -> Json:
        """Wait until Ready has that reason."""
        return self.until(lambda body: condition(body, "Ready").get("reason") == reason, seconds)

    def at(self, **state: Any) -> Json:
        """Wait until the rollout has that state: step=1, phase="Held", weight=20."""

        def holds(body: Json) -> bool:
            rollout: Mapping[str, Any] = body["status"].get("rollout") or {}
            return all(rollout.get(name) == value for name, value in state.items())

        return self.until(holds, 240.0)

    def answered(self, version: str, seconds: float = 60.0) -> None:
        """Wait until Envoy has an answer of that version."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self.endpoint.ask(request())
            except OSError:
                answer = None
            if answer is not None and (answer.status, answer.version) == (200, version):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"version {version} did not answer: {answer}")
            time.sleep(0.1)

    def shares(self, count: int) -> dict[str, float]:
        """Ask so many times, on a connection each; return each version's share of the answers."""
        found: dict[str, int] = {}
        for number in range(count):
            version = self.endpoint.ask(request(1, number % 500)).version
            found[version] = found.get(version, 0) + 1
        return {version: times / count for version, times in found.items()}

    def load(self) -> Client:
        """A hundred requests a second and more, of other rows each time, half of them on connections of their own."""
        return Client(self.endpoint, [request(2, first) for first in range(0, 598, 2)], connections=2)

    def status(self) -> Json:
        """Return the deployment's status."""
        body = self.kubectl.get("modeldeployment", self.name)
        assert body is not None
        status: Json = body["status"]
        return status

    def deployments(self) -> dict[int, Json]:
        """Return the Deployments by version."""
        listing = self.kubectl("get", "deployments", "-l", f"modelyard.dev/deployment={self.name}", "-o", "json")
        return {
            int(each["metadata"]["labels"]["modelyard.dev/model-version"]): each
            for each in json.loads(listing)["items"]
        }

    def pods(self) -> dict[str, str]:
        """Return the pods that are there to stay: name → version."""
        listing = self.kubectl("get", "pods", "-l", f"modelyard.dev/deployment={self.name}", "-o", "json")
        return {
            each["metadata"]["name"]: each["metadata"]["labels"]["modelyard.dev/model-version"]
            for each in json.loads(listing)["items"]
            if not each["metadata"].get("deletionTimestamp")
        }

    def remove(self) -> None:
        """Delete the objects; what they own goes with them."""
        for kind in ("modeldeployment", "registeredmodel"):
            self.kubectl("delete", kind, self.name, "--ignore-not-found", "--wait=false")


def all_answered(record: Record, *versions: str) -> None:
    """Assert that no request failed, and that just these versions answered."""
    assert record.failures == []
    assert set(record.answers) == set(versions)


def plugin(*arguments: str, namespace: str) -> str:
    """Run kubectl modelyard."""
    return run("kubectl", "modelyard", *arguments, "-n", namespace)
