"""`kubectl modelyard` as kubectl finds it, and people who may do little else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from examples.demo.kubectl import Kubectl, run
from examples.demo.steps import SYSTEM_NAMESPACE


def modelyard(
    namespace: str, *arguments: str, kubeconfig: Path | None = None, timeout: float = 420
) -> subprocess.CompletedProcess[str]:
    """Run the plugin with nothing but a kubeconfig: no store's credentials, no tracking server's address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MODELYARD_"))}
    environment.pop("MLFLOW_TRACKING_URI", None)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    if kubeconfig:
        environment["KUBECONFIG"] = str(kubeconfig)
    command = ["kubectl", "modelyard", *arguments, "-n", namespace]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=timeout)


@contextmanager
def person(kubectl: Kubectl, path: Path, role: str, *system_roles: str) -> Iterator[Path]:
    """Give the kubeconfig of somebody with a ClusterRole in the namespace, and Roles in the installation's."""
    name, system = f"person-{uuid.uuid4().hex[:8]}", Kubectl(SYSTEM_NAMESPACE)
    account = f"--serviceaccount={kubectl.namespace}:{name}"
    kubectl("create", "serviceaccount", name)
    kubectl("create", "rolebinding", name, f"--clusterrole={role}", account)
    for each in system_roles:
        system("create", "rolebinding", f"{name}-{each}", f"--role={each}", account)
    try:
        yield _kubeconfig(kubectl, name, path)
    finally:
        _remove(system, [f"rolebinding/{name}-{each}" for each in system_roles])
        _remove(kubectl, [f"rolebinding/{name}", f"serviceaccount/{name}"])


def _remove(kubectl: Kubectl, objects: Sequence[str]) -> None:
    if objects:
        kubectl("delete", *objects)


def _kubeconfig(kubectl: Kubectl, account: str, path: Path) -> Path:
    config = json.loads(run("kubectl", "config", "view", "--minify", "--raw", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", account).strip()}
    path.write_text(json.dumps(config))
    return path
