"""A namespace of a fault's own, and the history of every ModelDeployment."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from examples.demo.kubectl import CommandFailed, Kubectl, condition
from examples.demo.traffic import Answer, Endpoint
from modelyard.cluster.client import Client
from modelyard.cluster.resources import ResourceType
from tests.e2e.faults.models import MODELS
from tests.e2e.scenario import API_VERSION
from tests.e2e.store import ArtifactAccess

Json = dict[str, Any]

NAME = "churn"
ROOT = "s3://modelyard/artifacts/faults"
SETTLED_SECONDS = 240.0
FORCE_SECONDS = 30.0

_PODS = ResourceType("", "v1", "pods", "Pod")
_OWNED = (
    ResourceType("", "v1", "services", "Service"),
    ResourceType("apps", "v1", "deployments", "Deployment"),
    ResourceType("apps", "v1", "replicasets", "ReplicaSet"),
    ResourceType("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    ResourceType("networking.k8s.io", "v1", "ingresses", "Ingress"),
    ResourceType("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    ResourceType("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
    ResourceType("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    ResourceType("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    ResourceType("modelyard.dev", "v1alpha1", "modeldeployments", "ModelDeployment"),
)


@dataclass(frozen=True)
class Seen:
    """A state of a ModelDeployment, and when it was seen (monotonic clock)."""

    at: float
    body: Json

    @property
    def ready(self) -> Json:
        """The condition Ready, or nothing."""
        return condition(self.body, "Ready")


class History:
    """Every state of every ModelDeployment, as a watch tells of them."""

    def __init__(self) -> None:
        self._states: dict[str, list[Seen]] = {}
        self._changed = threading.Condition()

    @contextmanager
    def recording(self) -> Iterator[History]:
        """Watch until the end of the block."""
        command = ["kubectl", "get", "modeldeployments", "--all-namespaces", "--watch", "-o", "json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            reader = threading.Thread(target=self._read, args=(process,), daemon=True)
            reader.start()
            try:
                yield self
            finally:
                process.terminate()
                reader.join(timeout=10)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if line.rstrip("\n") != "}":
                continue
            body = json.loads("".join(lines))
            lines.clear()
            with self._changed:
                self._states.setdefault(body["metadata"]["namespace"], []).append(Seen(time.monotonic(), body))
                self._changed.notify_all()

    def of(self, namespace: str) -> list[Seen]:
        """Return the states of the namespace's ModelDeployment, in order."""
        with self._changed:
            return list(self._states.get(namespace, []))

    def wait(self, namespace: str, until: Callable[[Seen], bool], seconds: float, since: float = 0.0) -> Seen:
        """Return the first state since then for which `until` holds."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                states = [seen for seen in self._states.get(namespace, []) if seen.at >= since]
                found = next((seen for seen in states if until(seen)), None)
                if found:
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    told = [f"{seen.at - since:5.1f} s: {_told(seen)}" for seen in states]
                    raise AssertionError(f"{namespace}: not within {seconds:.0f} s; seen: " + "\n".join(["", *told]))
                self._changed.wait(left)


def _told(seen: Seen) -> str:
    ready = seen.ready
    return f"{ready.get('status')} {ready.get('reason')}: {ready.get('message')}"


@dataclass
class Place:
    """A namespace with a model, and what a fault needs to do there."""

    name: str
    client: Client
    artifacts: ArtifactAccess
    history: History
    ending: ExitStack = field(default_factory=ExitStack)
    """What is put right when the place is removed."""
    _of_cluster: list[tuple[str, str]] = field(default_factory=list)

    @property
    def kubectl(self) -> Kubectl:
        """kubectl in the namespace."""
        return Kubectl(self.name)

    @property
    def host(self) -> str:
        """The host of the model's Ingress."""
        return f"{self.name}.example.com"

    def create(self, labels: dict[str, str]) -> None:
        """Create the namespace."""
        metadata = {"name": self.name, "labels": {"modelyard-test": "fault", **labels}}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def remove(self) -> None:
        """Remove the namespace, and what was made beside it."""
        self.ending.close()
        for kind, name in self._of_cluster:
            self.kubectl("delete", kind, name, "--ignore-not-found", "--wait=false")
        self.kubectl("delete", "namespace", self.name, "--ignore-not-found", "--wait=false")

    def apply(self, *bodies: Json) -> None:
        """Apply objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def apply_to_cluster(self, *bodies: Json) -> None:
        """Apply objects of the whole cluster; they are removed with the namespace."""
        self._of_cluster += [(body["kind"], body["metadata"]["name"]) for body in bodies]
        self.apply(*bodies)

    def artifact(self, version: int) -> str:
        """Return where the files of a version are."""
        return f"{ROOT}/{self.name}/{version}"

    def register(self, *models: str) -> None:
        """Register the models as versions 1, 2, …; the first is in Production."""
        jobs = [
            (f"{self.artifact(number)}/{path}", content)
            for number, model in enumerate(models, 1)
            for path, content in MODELS[model].items()
        ]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda job: self.artifacts.write(*job), jobs))
        versions = [{"version": number, "source": self.artifact(number)} for number in range(1, len(models) + 1)]
        spec = {"versions": versions, "stages": {"production": 1}}
        self.apply({"apiVersion": API_VERSION, "kind": "RegisteredModel", "metadata": {"name": NAME}, "spec": spec})
        self.until("the model is registered", lambda: self._in_production() == 1)

    def _in_production(self) -> int | None:
        resource = ResourceType("modelyard.dev", "v1alpha1", "registeredmodels", "RegisteredModel")
        body = self.client.find(resource, self.name, NAME) or {}
        held: int | None = body.get("status", {}).get("stages", {}).get("production", {}).get("version")
        return held

    def promote(self, version: int | None) -> None:
        """Put a version into Production, or take out the one that is there."""
        self.kubectl.patch("registeredmodel", NAME, {"spec": {"stages": {"production": version}}})

    def deploy(self, rest: Json, model: Json | None = None) -> None:
        """Apply the ModelDeployment. Its pods get their share of a busy machine's CPU."""
        resources = rest.get("resources", {})
        requests = {"cpu": "200m", **resources.get("requests", {})}
        rest = {**rest, "resources": {**resources, "requests": requests}}
        spec = {"model": model or {"name": NAME, "stage": "Production"}, "rest": {"replicas": 1, **rest}}
        self.apply({"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": {"name": NAME}, "spec": spec})

    def ask(self, row: float, timeout: float = 10.0) -> Answer:
        """Ask the model through the ingress controller. Raises `OSError` where no answer comes."""
        endpoint = Endpoint(os.environ.get("MODELYARD_INGRESS", "http://127.0.0.1:18080"), self.host)
        link = endpoint.connect()
        link.timeout = timeout
        try:
            return endpoint.ask(json.dumps({"inputs": [[row]]}), link)
        finally:
            link.close()

    def objects(self) -> dict[str, str]:
        """Return what is in the namespace of the kinds that a ModelDeployment leads to: uid → kind/name."""
        return {uid: name for resource in (*_OWNED, _PODS) for uid, name in self._present(resource).items()}

    def pods(self) -> dict[str, str]:
        """Return the pods alone: uid → kind/name."""
        return self._present(_PODS)

    def _present(self, resource: ResourceType) -> dict[str, str]:
        found = (body["metadata"] for body in self.client.list_all(resource, self.name))
        return {metadata["uid"]: f"{resource.kind}/{metadata['name']}" for metadata in found}

    def in_force(self, probe: Json, says: str) -> None:
        """Wait until the API server goes by an admission rule: what it says of the probe has `says` in it."""
        self.until(f"the API server says {says!r} of {probe['kind']}", lambda: says in self._dry_run(probe))

    def _dry_run(self, probe: Json) -> str:
        try:
            return self.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(probe))
        except CommandFailed as error:
            return str(error)

    def until(self, what: str, holds: Callable[[], bool], seconds: float = SETTLED_SECONDS) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"{self.name}: not within {seconds:.0f} s: {what}"
            time.sleep(0.3)
