"""The chart in a namespace of its own, beside whatever else the cluster has, and its removal."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from examples.demo.kubectl import CommandFailed, Kubectl, run
from tests.e2e.processes import wait_until

Json = dict[str, Any]

CHART = Path(__file__).resolve().parents[2] / "charts" / "modelyard"
INSTALL_SECONDS = 420

# Run in the tracking server's pod: MLflow's own client takes seconds to import, its protocol is enough.
CALL = """
import json, sys, urllib.request
method, path, body = sys.argv[1:]
request = urllib.request.Request("http://127.0.0.1:5000" + path, body.encode() or None, method=method)
request.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""

# The cluster's DNS remembers the address of a Service that was deleted for up to 30 seconds.
RESOLVE = """
import socket, sys, time
name, address = sys.argv[1:]
deadline = time.monotonic() + 90
while address not in {entry[4][0] for entry in socket.getaddrinfo(name, 9000)}:
    if time.monotonic() > deadline:
        sys.exit(f"{name} is not {address}")
    time.sleep(0.5)
"""


@dataclass
class Release:
    """One installation of the chart in a namespace with restricted Pod Security."""

    namespace: str
    values: Mapping[str, Any]
    name: str = "yard"

    def __post_init__(self) -> None:
        self.kubectl = Kubectl(self.namespace)
        # Read once: images that are built in the meantime are no part of an upgrade here.
        images = os.environ.get("MODELYARD_IMAGES_VALUES")
        self.images = yaml.safe_load(Path(images).read_text()) if images else {}

    def apply(self, **values: Any) -> None:
        """Install, or upgrade; `values` go over the release's."""
        arguments = ["helm", "upgrade", "--install", self.name, str(CHART), "--namespace", self.namespace]
        arguments += ["--values", "-", "--wait", "--timeout", f"{INSTALL_SECONDS}s"]
        base = {
            **self.images,
            # The kinds and who may edit them belong to the cluster's main installation. Nothing of this one is outside
            # of its namespace, and an interrupted run leaves nothing that is in the next one's way.
            "crds": {"enabled": False},
            "rbac": {"userRoles": False},
            "operator": {"watchNamespaces": [self.namespace]},
            "approvals": {"policy": {"enabled": False}},
            "audit": {"editors": "disabled"},
            # What is about preparing versions turns it on.
            "serving": {"preparation": {"enabled": False}},
            # It is never needed: only the tests of it have it.
            "nodeCache": {"enabled": False},
            "tracking": {"persistence": {"size": "100Mi"}},
            "minio": {"persistence": {"size": "100Mi"}},
            "postgresql": {"persistence": {"size": "200Mi"}},
        }
        run(*arguments, stdin=json.dumps(merged(merged(base, self.values), values)))

    def test(self) -> None:
        run("helm", "test", self.name, "--namespace", self.namespace, "--timeout", "180s")

    def uninstall(self) -> str:
        """Remove it, wait until its pods are gone, and return what Helm said."""
        said = run("helm", "uninstall", self.name, "--namespace", self.namespace, "--wait", "--timeout", "180s")
        self.kubectl("wait", "--for=delete", "pods", "-l", f"app.kubernetes.io/instance={self.name}", "--timeout=120s")
        return said

    def reinstall(self) -> None:
        """Install what was uninstalled a moment ago, and wait until the store's name leads to the new one."""
        self.apply()
        service = f"{self.name}-modelyard-minio"
        address = self.kubectl("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")
        self.python(RESOLVE, f"{service}.{self.namespace}.svc", address)

    def names(self, *kinds: str) -> set[str]:
        return set(self.kubectl("get", ",".join(kinds), "-o", "name", "--ignore-not-found").split())

    def pods(self) -> dict[str, str]:
        """Return the release's pods: component → uid."""
        pods = json.loads(self.kubectl("get", "pods", "-l", f"app.kubernetes.io/instance={self.name}", "-o", "json"))[
            "items"
        ]
        running = [pod["metadata"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return {pod["labels"]["app.kubernetes.io/component"]: pod["uid"] for pod in running}

    def passwords(self) -> dict[str, str]:
        """Return every secret value of the release."""
        secrets = json.loads(
            self.kubectl("get", "secrets", "-l", f"app.kubernetes.io/instance={self.name}", "-o", "json")
        )
        return {
            f"{secret['metadata']['name']}/{key}": base64.b64decode(value).decode()
            for secret in secrets["items"]
            for key, value in secret["data"].items()
        }

    def python(self, program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a program in the tracking server's pod. Raises `CommandFailed`."""
        given = [f"{name}={value}" for name, value in (environment or {}).items()]
        command = ["env", *given, "python", "-c", program, *arguments]
        return self.kubectl("exec", f"deploy/{self.name}-modelyard-tracking", "-c", "tracking", "--", *command)

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """Ask the tracking server and return its answer."""
        return dict(json.loads(self.python(CALL, method, path, json.dumps(body) if body else "")))

    def record(self, name: str) -> None:
        """Make an MLflow experiment."""
        self.call("POST", "/api/2.0/mlflow/experiments/create", {"name": name})

    def recorded(self) -> set[str]:
        """Return the names of the MLflow experiments."""
        answer = self.call("GET", "/api/2.0/mlflow/experiments/search?max_results=100")
        return {experiment["name"] for experiment in answer["experiments"]}

    def wait_recorded(self, name: str) -> None:
        """Wait until the tracking server answers with that MLflow experiment: it hears of a new pod's address later."""

        def holds() -> bool:
            with suppress(CommandFailed):
                return name in self.recorded()
            return False

        wait_until(f"{name!r} in the tracking server", holds)

    def restart(self, component: str) -> None:
        """Delete the pods of a component and wait until it is ready again."""
        before = self.pods()[component]
        self.kubectl("delete", "pod", "-l", f"app.kubernetes.io/component={component}", "--wait")
        self.wait_for(component, before)

    def wait_for(self, component: str, before: str) -> None:
        """Wait until another pod of a component than the one of that uid is ready."""
        # Its controller may still count the one that was deleted.
        wait_until(f"another pod of {component}", lambda: self.pods().get(component, before) != before)
        label = f"app.kubernetes.io/component={component}"
        self.kubectl("wait", "--for=condition=Ready", "pod", "-l", label, f"--timeout={INSTALL_SECONDS}s")


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Json:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def installed(values: Mapping[str, Any]) -> Iterator[Release]:
    namespace = f"chart-{uuid.uuid4().hex[:8]}"
    run("kubectl", "create", "namespace", namespace)
    try:
        run("kubectl", "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        release = Release(namespace, values)
        release.apply()
        yield release
    finally:
        run("helm", "uninstall", "yard", "--namespace", namespace, "--ignore-not-found")
        run("kubectl", "delete", "namespace", namespace, "--wait=false")
