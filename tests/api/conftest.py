"""A real API server with the CRDs of this checkout, and a namespace of the tests' own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CRDS = Path(__file__).resolve().parents[2] / "crds"
NAMESPACE = "modelyard-api-rules"
HELM_RELEASE = ("meta.helm.sh/release-name=modelyard", "meta.helm.sh/release-namespace=modelyard-system")


def kubectl(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)


class Server:
    """Asks the API server what it would do, without doing it."""

    def verdict(self, body: dict[str, Any]) -> str:
        """Return "" where it would accept the object, else its refusal."""
        metadata = {"namespace": NAMESPACE, **body["metadata"]}
        manifest = json.dumps({"apiVersion": "modelyard.dev/v1alpha1", **body, "metadata": metadata})
        done = kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest)
        return "" if done.returncode == 0 else done.stderr

    def change(self, kind: str, name: str, patch: dict[str, Any]) -> str:
        """Return "" where it would accept a merge patch of an object, else its refusal."""
        done = kubectl(
            "-n", NAMESPACE, "patch", kind, name, "--type=merge", "--dry-run=server", "-p", json.dumps(patch)
        )
        return "" if done.returncode == 0 else done.stderr

    def create(self, body: dict[str, Any]) -> None:
        metadata = {"namespace": NAMESPACE, **body["metadata"]}
        manifest = json.dumps({"apiVersion": "modelyard.dev/v1alpha1", **body, "metadata": metadata})
        done = kubectl("apply", "-f", "-", stdin=manifest)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    ready = kubectl("get", "--raw", "/readyz")
    if ready.returncode != 0:
        pytest.fail(f"these tests need a cluster (make cluster-up): {ready.stderr}")
    for command in (
        ("apply", "--server-side", "--force-conflicts", "-f", str(CRDS)),
        # Helm takes over what says that it is Helm's, so the chart can be installed before or after.
        ("label", "--overwrite", "-f", str(CRDS), "app.kubernetes.io/managed-by=Helm"),
        ("annotate", "--overwrite", "-f", str(CRDS), *HELM_RELEASE),
        ("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS)),
    ):
        done = kubectl(*command)
        assert done.returncode == 0, done.stderr
    manifest = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kubectl("apply", "-f", "-", stdin=manifest)
    yield Server()
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
