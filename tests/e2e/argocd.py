"""A real Argo CD beside a test's own API server, and a Git repository on the machine that it syncs from.

The application controller and the repository server run as local processes, with a Redis of their own. Nobody polls for
minutes: after a push, what a Git host's webhook asks for is asked for here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from modelyard.api.names import GROUP
from tests.cluster import packages, versions
from tests.cluster.build import ensure
from tests.e2e.api_server import NAMESPACE, ApiServer, Refused
from tests.e2e.processes import free_port, program, running, wait_until

ARGOCD_NAMESPACE = "argocd"
REPOSITORY = Path(__file__).resolve().parents[2]
HEALTH_SCRIPTS = REPOSITORY / "charts/modelyard/files/argocd" / GROUP
APPLICATION = REPOSITORY / "examples/argocd/application.yaml"
SYNC_SECONDS = 180.0
_CRDS = ("manifests/crds/application-crd.yaml", "manifests/crds/appproject-crd.yaml")
# Every comparison is a "reconcile" of Argo CD's: it is to see drift within seconds.
_RESYNC_SECONDS = 2


class GitRepository:
    """A bare repository and a clone of it, on one branch."""

    def __init__(self, directory: Path) -> None:
        self._bare, self._clone = directory / "models.git", directory / "clone"
        directory.mkdir(parents=True, exist_ok=True)
        self._run(directory, "init", "--quiet", "--bare", "--initial-branch=main", str(self._bare))
        self._run(directory, "clone", "--quiet", str(self._bare), str(self._clone))
        self._run(self._clone, "checkout", "--quiet", "-B", "main")

    @property
    def url(self) -> str:
        """Where Argo CD reads it."""
        return self._bare.as_uri()

    def commit(self, files: Mapping[str, Any], message: str) -> str:
        """Write manifests, commit and push them; return the commit."""
        for path, manifest in files.items():
            target = self._clone / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(yaml.safe_dump(manifest, sort_keys=False))
        self._run(self._clone, "add", "--all")
        self._run(self._clone, "commit", "--quiet", "-m", message)
        return self._push()

    def revert(self, commit: str) -> str:
        """Take a commit back with `git revert` and push that; return the new commit."""
        self._run(self._clone, "revert", "--no-edit", commit)
        return self._push()

    def _push(self) -> str:
        self._run(self._clone, "push", "--quiet", "origin", "main")
        return self._run(self._clone, "rev-parse", "HEAD").strip()

    @staticmethod
    def _run(directory: Path, *arguments: str) -> str:
        person = {f"GIT_{role}_{part}": "test" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
        environment = {**os.environ, **person, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", "-C", str(directory), *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout


@dataclass
class Application:
    """An Argo CD Application of one directory of the repository."""

    server: ApiServer
    name: str
    git: GitRepository
    seen: list[tuple[str, str]] = field(default_factory=list)
    """The (sync status, health) pairs that were looked at."""

    def create(self, namespace: str = NAMESPACE) -> None:
        """Sync the directory of the application's name from now on, as the example does."""
        manifest = yaml.safe_load(APPLICATION.read_text())
        manifest["metadata"]["name"] = self.name
        manifest["spec"]["source"] |= {"repoURL": self.git.url, "path": self.name}
        manifest["spec"]["destination"]["namespace"] = namespace
        self.server.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))

    def delete(self) -> None:
        """End the syncing; what was applied stays."""
        self.server.kubectl("-n", ARGOCD_NAMESPACE, "delete", "application", self.name)

    def refresh(self) -> None:
        """Compare now, with what the branch holds now: what a Git host's webhook leads to."""
        annotation = "argocd.argoproj.io/refresh=normal"
        self.server.kubectl("-n", ARGOCD_NAMESPACE, "annotate", "--overwrite", "application", self.name, annotation)

    def sync(self) -> None:
        """Apply what Git has even where nothing differs: `argocd app sync`."""
        operation = {"sync": {"syncOptions": ["ServerSideApply=true"]}, "initiatedBy": {"username": "test"}}
        patch = ("--type=merge", "-p", json.dumps({"operation": operation}))
        self.server.kubectl("-n", ARGOCD_NAMESPACE, "patch", "application", self.name, *patch)

    def status(self) -> dict[str, Any]:
        """Return its status; empty before the first comparison."""
        return dict(self.server.get("application", self.name, ARGOCD_NAMESPACE).get("status") or {})

    def state(self) -> tuple[str, str]:
        """Return the sync status and the health, as the web page shows them."""
        status = self.status()
        state = (status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", ""))
        self.seen.append(state)
        return state

    def synced_revision(self) -> str:
        """Return the commit that the last successful sync applied."""
        operation = self.status().get("operationState", {})
        done = operation.get("phase") == "Succeeded"
        return str(operation.get("syncResult", {}).get("revision", "")) if done else ""

    def health_of(self, kind: str, name: str) -> tuple[str, str]:
        """Return the health and message of one of its objects."""
        for resource in self.status().get("resources", []):
            if (resource["kind"], resource["name"]) == (kind, name):
                health = resource.get("health", {})
                return health.get("status", ""), health.get("message", "")
        return "", ""

    def wait_for_sync(self, revision: str) -> None:
        """Wait until the commit is applied."""
        self.refresh()
        wait_until(f"sync of {revision}", lambda: self.synced_revision() == revision, SYNC_SECONDS)

    def wait_for(self, *state: str) -> None:
        """Wait for a sync status and a health."""
        wait_until(f"{self.name} to be {state}", lambda: self.state() == state, SYNC_SECONDS)


@contextmanager
def run_argocd(server: ApiServer, directory: Path) -> Iterator[None]:
    """Run Argo CD on the API server, with our health checks in its ConfigMap, its logs in `directory`.

    Obtains its programs where they are not in the cache: the first time takes minutes.
    """
    packages.ensure_packages(packages.missing_gitops_packages)
    pins = versions.load()
    ensure(pins.components["argocd"], pins.toolchain)
    _prepare(server, pins)
    redis, repo_server = free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(running(_redis_command(redis), directory))
        for role, options, environment in (
            ("argocd-repo-server", _repo_server_options(repo_server, redis), _repo_server_environment(directory)),
            ("argocd-application-controller", _controller_options(repo_server, redis), _controller_environment(server)),
        ):
            link = directory / role
            link.symlink_to(program("argocd"))
            metrics = free_port()
            command = [str(link), *options, f"--metrics-port={metrics}"]
            process = stack.enter_context(running(command, directory, {"HOME": str(directory), **environment}))
            process.wait_for(f"http://127.0.0.1:{metrics}/healthz")
        yield


def _prepare(server: ApiServer, pins: versions.Versions) -> None:
    for crd in _CRDS:
        server.kubectl("apply", "--server-side", "-f", str(pins.components["argocd"].home() / crd))
    for kind in ("applications", "appprojects"):
        wait_until(f"the API server to serve {kind}", partial(_is_served, server, kind))
    for manifest in _settings():
        server.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    _add_health_checks(server)


def _add_health_checks(server: ApiServer) -> None:
    """Do what docs/gitops.md says."""
    scripts = (
        f"--from-file=resource.customizations.health.{GROUP}_{script.parent.name}={script}"
        for script in sorted(HEALTH_SCRIPTS.glob("*/health.lua"))
    )
    create = ("create", "configmap", "argocd-cm", "--namespace", ARGOCD_NAMESPACE, "--dry-run=client", "--output=yaml")
    made = server.kubectl(*create, *scripts)
    server.kubectl("apply", "--server-side", "--field-manager=modelyard-health", "--filename=-", stdin=made)


def _is_served(server: ApiServer, kind: str) -> bool:
    try:
        server.kubectl("get", f"{kind}.argoproj.io", "--all-namespaces")
    except Refused:
        return False
    return True


def _settings() -> Iterator[dict[str, Any]]:
    metadata = {"namespace": ARGOCD_NAMESPACE, "labels": {"app.kubernetes.io/part-of": "argocd"}}
    anything = [{"group": "*", "kind": "*"}]
    project = {
        "sourceRepos": ["*"],
        "destinations": [{"namespace": "*", "server": "*"}],
        "clusterResourceWhitelist": anything,
    }
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ARGOCD_NAMESPACE}}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", **metadata}}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argocd-secret", **metadata}}
    yield {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default", "namespace": ARGOCD_NAMESPACE},
        "spec": project,
    }


def _redis_command(port: int) -> list[str]:
    redis = shutil.which("redis-server", path=packages.SEARCH_PATH) or "redis-server"
    return [redis, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]


def _repo_server_options(port: int, redis: int) -> list[str]:
    return [
        "--address=127.0.0.1",
        f"--port={port}",
        "--metrics-address=127.0.0.1",
        "--disable-tls",
        f"--redis=127.0.0.1:{redis}",
    ]


def _repo_server_environment(directory: Path) -> dict[str, str]:
    # It keeps clones, sockets and known hosts in fixed places of its image otherwise.
    places = {
        "TMPDIR": directory / "repositories",
        "ARGOCD_PLUGINSOCKFILEPATH": directory / "plugins",
        "ARGOCD_TLS_DATA_PATH": directory / "tls",
        "ARGOCD_SSH_DATA_PATH": directory / "ssh",
    }
    for place in places.values():
        place.mkdir()
    return {"ARGOCD_GPG_ENABLED": "false", **{name: str(place) for name, place in places.items()}}


def _controller_options(repo_server: int, redis: int) -> list[str]:
    return [
        f"--namespace={ARGOCD_NAMESPACE}",
        f"--repo-server=127.0.0.1:{repo_server}",
        "--repo-server-plaintext",
        f"--redis=127.0.0.1:{redis}",
        f"--app-resync={_RESYNC_SECONDS}",
        "--status-processors=2",
        "--operation-processors=2",
    ]


def _controller_environment(server: ApiServer) -> dict[str, str]:
    # "In the cluster" is then the one that KUBECONFIG names.
    return {"KUBECONFIG": str(server.kubeconfig), "ARGOCD_FAKE_IN_CLUSTER": "true", "HOSTNAME": "test-0"}
