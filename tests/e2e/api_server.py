"""An API server of a test's own, with the CRDs of this checkout, beside whatever the local cluster runs."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelyard.api.names import GROUP
from tests.cluster.components import MUTATING_POLICIES
from tests.e2e.processes import START_SECONDS, Process, free_port, program, running, wait_until

CRDS = Path(__file__).resolve().parents[2] / "crds"
NAMESPACE = "default"


@dataclass
class Refused(Exception):
    """The API server did not do it; these are its words."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Person:
    """Somebody who makes requests."""

    user: str
    groups: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """kubectl's, which make the administrator this person."""
        groups = (*self.groups, "system:authenticated")
        return (f"--as={self.user}", *(f"--as-group={group}" for group in groups))


@dataclass(frozen=True)
class ApiServer:
    """A running API server, and kubectl for it."""

    kubeconfig: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, as_: Person | None = None) -> str:
        """Run kubectl, as an administrator or as a person, and return what it printed. Raises `Refused`."""
        identity = as_.flags if as_ else ()
        command = [program("kubernetes", "kubectl"), f"--kubeconfig={self.kubeconfig}", *identity, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=90)
        if done.returncode != 0:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        """Return an object."""
        return dict(json.loads(self.kubectl("-n", namespace, "get", kind, name, "-o", "json", "--show-managed-fields")))

    def allows(self, person: Person, verb: str, resource: str, name: str = "", namespace: str = NAMESPACE) -> bool:
        """Whether roles let a person do that; the API server knows of a binding a moment after it was made."""
        target = f"{resource}.modelyard.dev" if "." not in resource else resource
        try:
            self.kubectl("-n", namespace, "auth", "can-i", verb, target, *([name] if name else []), as_=person)
        except Refused:
            return False
        return True

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            self.kubectl("get", "--raw", "/readyz")
        except Refused:
            return False
        return True


@contextmanager
def run_api_server(directory: Path, authorization: str = "AlwaysAllow") -> Iterator[ApiServer]:
    """Run an API server, its data and logs in `directory`, with the kinds of this checkout established.

    With `authorization="RBAC"` ClusterRoles are aggregated too.
    """
    port, token = free_port(), secrets.token_hex(16)
    (directory / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    server = ApiServer(directory / "kubeconfig")
    with ExitStack() as stack:
        etcd = stack.enter_context(run_etcd(directory))
        process = stack.enter_context(running(_command(directory, port, etcd, authorization), directory))
        wait_until("the API server's certificate", (directory / "certs" / "apiserver.crt").exists, START_SECONDS)
        server.kubeconfig.write_text(_kubeconfig(port, token, directory / "certs" / "apiserver.crt"))
        wait_until("the API server", server.answers, START_SECONDS)
        assert process.process.poll() is None
        if authorization == "RBAC":
            stack.enter_context(_aggregation(directory, server.kubeconfig))
        server.kubectl("apply", "--server-side", "-f", str(CRDS))
        server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
        # What kubectl goes by is published after that: the list of kinds, and their schemas.
        wait_until("the kinds of this checkout", lambda: _publishes(server), START_SECONDS)
        yield server


def _publishes(server: ApiServer) -> bool:
    names = [yaml.safe_load(crd.read_text())["spec"]["names"] for crd in CRDS.glob("*.yaml")]
    try:
        server.kubectl("get", ",".join(f"{each['plural']}.{GROUP}" for each in names), "--all-namespaces")
        schemas = server.kubectl("get", "--raw", f"/openapi/v3/apis/{GROUP}/v1alpha1")
    except Refused:
        return False
    return all(f'"{each["kind"]}"' in schemas for each in names)


@contextmanager
def run_etcd(directory: Path) -> Iterator[str]:
    """Run etcd, its data in `directory`; yield its URL."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    command = [
        program("etcd"),
        f"--data-dir={directory / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
    ]
    with running(command, directory):
        yield client


def _command(directory: Path, port: int, etcd: str, authorization: str) -> list[str]:
    key = directory / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    return [
        program("kubernetes", "kube-apiserver"),
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={directory / 'certs'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        f"--authorization-mode={authorization}",
        "--service-account-issuer=https://modelyard.test",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--disable-admission-plugins=ServiceAccount",
        *MUTATING_POLICIES,
    ]


@contextmanager
def _aggregation(directory: Path, kubeconfig: Path) -> Iterator[Process]:
    command = [
        program("kubernetes", "kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        "--controllers=clusterrole-aggregation-controller",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    with running(command, directory) as process:
        yield process


def _kubeconfig(port: int, token: str, authority: Path) -> str:
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin", "namespace": NAMESPACE}}],
            "current-context": "test",
        }
    )
