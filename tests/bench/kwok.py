"""A control plane of its own whose nodes are objects only: their pods are ready as soon as they are scheduled."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import kubernetes.client
import kubernetes.config
import yaml

from modelyard.cluster.client import Client
from tests.e2e.api_server import CRDS, ApiServer, run_etcd
from tests.e2e.processes import START_SECONDS, free_port, program, running, wait_until

NAMESPACE = "models"
OPERATOR = "system:serviceaccount:modelyard-system:modelyard-operator"
PODS_A_NODE = 110
INGRESS_CLASS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "nginx"},
    "spec": {"controller": "k8s.io/ingress-nginx"},
}
# None that looks after nodes: they are well however busy the machine is. None that scales: there are no metrics.
CONTROLLERS = (
    "deployment-controller,replicaset-controller,endpointslice-controller,disruption-controller,"
    "garbage-collector-controller,namespace-controller"
)
# The default, 20 requests a second, is what would be measured.
FAST = ("--kube-api-qps=1000", "--kube-api-burst=2000", "--leader-elect=false")


@dataclass(frozen=True)
class ControlPlane:
    """A running one."""

    directory: Path
    admin: ApiServer
    operator_kubeconfig: Path

    def client(self) -> Client:
        """Return an administrator's client."""
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(str(self.admin.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        configuration.retries = False
        return Client(kubernetes.client.ApiClient(configuration))

    def requests(self) -> Counter[str]:
        """Return how often the operator has asked for what since the start, as `verb resource[/subresource]`."""
        with (self.directory / "audit.log").open() as lines:
            events = [json.loads(line) for line in lines if line.endswith("\n")]
        mine = (event for event in events if event["user"]["username"] == OPERATOR)
        # What asks which kinds there are is about no object.
        return Counter(_request(event) for event in mine if "objectRef" in event)


def _request(event: dict[str, dict[str, str] | str]) -> str:
    what = event["objectRef"]
    assert isinstance(what, dict)
    return f"{event['verb']} {what['resource']}" + (f"/{what['subresource']}" if "subresource" in what else "")


@contextmanager
def run_control_plane(
    directory: Path, nodes: int, *, controllers: str = CONTROLLERS, stages: Path | None = None
) -> Iterator[ControlPlane]:
    """Run etcd, the API server, the controllers, the scheduler and kwok, with that many nodes.

    `stages` is a file of kwok's that says how pods live, where they are not just to be ready.
    """
    port, tokens = free_port(), {"admin": secrets.token_hex(16), "operator": secrets.token_hex(16)}
    (directory / "tokens.csv").write_text(
        f"{tokens['admin']},admin,admin,system:masters\n"
        f'{tokens["operator"]},{OPERATOR},operator,"system:serviceaccounts,system:authenticated"\n'
    )
    rules = [{"level": "Metadata", "users": [OPERATOR], "omitStages": ["RequestReceived"]}, {"level": "None"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
    (directory / "audit.yaml").write_text(yaml.safe_dump(policy))
    plane = ControlPlane(directory, ApiServer(directory / "admin.kubeconfig"), directory / "operator.kubeconfig")
    with ExitStack() as stack:
        etcd = stack.enter_context(run_etcd(directory))
        stack.enter_context(running(_api_server(directory, port, etcd), directory))
        certificate = directory / "certs" / "apiserver.crt"
        wait_until("the API server's certificate", certificate.exists, START_SECONDS)
        for name, token in tokens.items():
            (directory / f"{name}.kubeconfig").write_text(_kubeconfig(port, token, certificate))
        wait_until("the API server", plane.admin.answers, START_SECONDS)
        plane.admin.kubectl("apply", "--server-side", "-f", str(CRDS))
        plane.admin.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
        plane.admin.kubectl("create", "namespace", NAMESPACE)
        for command in _controllers(plane.admin.kubeconfig, controllers, stages):
            stack.enter_context(running(command, directory))
        items = [INGRESS_CLASS, *_nodes(nodes)]
        plane.admin.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        plane.admin.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "nodes", "--all")
        yield plane


def _api_server(directory: Path, port: int, etcd: str) -> list[str]:
    key = directory / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    return [
        program("kubernetes", "kube-apiserver"),
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={directory / 'certs'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=AlwaysAllow",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://modelyard.test",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        f"--audit-policy-file={directory / 'audit.yaml'}",
        f"--audit-log-path={directory / 'audit.log'}",
    ]


def _controllers(kubeconfig: Path, controllers: str, stages: Path | None) -> list[list[str]]:
    connection = f"--kubeconfig={kubeconfig}"
    return [
        [
            program("kubernetes", "kube-controller-manager"),
            connection,
            f"--controllers={controllers}",
            *FAST,
            "--secure-port=0",
        ],
        [program("kubernetes", "kube-scheduler"), connection, *FAST, "--secure-port=0"],
        [
            program("kwok"),
            connection,
            "--manage-all-nodes=true",
            "--cidr=10.128.0.1/12",
            "--server-address=",
            *([f"--config={stages}"] if stages else []),
        ],
    ]


def _nodes(count: int) -> list[dict[str, object]]:
    room = {"cpu": "64", "memory": "256Gi", "pods": str(PODS_A_NODE)}
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"kwok-{number}",
                "labels": {"kubernetes.io/hostname": f"kwok-{number}", "kubernetes.io/os": "linux"},
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
            "status": {"allocatable": room, "capacity": room},
        }
        for number in range(count)
    ]


def _kubeconfig(port: int, token: str, authority: Path) -> str:
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": cluster}],
            "users": [{"name": "bench", "user": {"token": token}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench", "namespace": NAMESPACE}}],
            "current-context": "bench",
        }
    )


def cpu_seconds(pid: int) -> float:
    """Return how much processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, which: str = "VmRSS") -> float:
    """Return a process's resident memory, or with `VmHWM` the most that it has been."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{which}:")) / 1024


def busy() -> dict[str, float]:
    """Return how much processor time each process of the measurement has used, this one's included."""
    used = {"the measurement": cpu_seconds(os.getpid())}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            name, fields = (place / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            if int(fields.split()[1]) == os.getpid():
                used[name] = cpu_seconds(int(place.name))
        except OSError:
            # It has just ended.
            continue
    return used
