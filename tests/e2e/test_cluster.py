"""The local cluster itself: what everything else that is tested on it takes for granted."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster import processes
from tests.cluster.archive import BUSYBOX
from tests.cluster.cli import external_kubeconfig
from tests.cluster.components import NAMES
from tests.cluster.paths import REPOSITORY
from tests.cluster.settings import NODE, Ports, from_environment

pytestmark = pytest.mark.usefixtures("cluster")

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def local_cluster() -> None:
    """These tests are about the local cluster; one that the user brings may be built in other ways."""
    if external_kubeconfig() is not None:
        pytest.skip("KUBECONFIG names a cluster of the user's own")


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that goes with all that is in it."""
    name = f"cluster-test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def web(namespace: str) -> Json:
    """A web server on a volume, and its Service; the Service as the API server completed it."""
    labels = {"app": "web"}
    serve = "echo hello > /data/index.html && echo serving && exec httpd -f -p 8080 -h /data"
    container = {
        "name": "web",
        "image": BUSYBOX,
        "command": ["sh", "-c", serve],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    apply(
        namespace,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=200s")
    return get("-n", namespace, "service", "web")


def test_the_node_is_ready() -> None:
    assert condition(get("node", NODE), "Ready") == "True"


def test_a_claim_is_bound_by_the_default_storage_class(namespace: str, web: Json) -> None:
    claim = get("-n", namespace, "persistentvolumeclaim", "data")
    assert claim["status"]["phase"] == "Bound"
    assert claim["spec"]["storageClassName"] == "local-path"


def test_a_pod_resolves_services_and_reaches_them(namespace: str, web: Json) -> None:
    answer = kubectl("-n", namespace, "exec", "deploy/web", "--", "nslookup", "kubernetes.default.svc.cluster.local")
    assert from_environment().apiserver_service_ip in answer
    # Its own Service, by the short name: the search path, and the way back to the pod that asks. A Service leads to a
    # pod a moment after the pod is ready.
    ask = "until timeout 5 wget -qO- http://web/; do usleep 200000; done"
    assert kubectl("-n", namespace, "exec", "deploy/web", "--", "timeout", "60", "sh", "-c", ask) == "hello\n"


def test_what_asks_for_a_service_that_is_not_there_is_refused(namespace: str, web: Json) -> None:
    """Outside, somebody might answer."""
    nobody = str(from_environment().service_cidr[-2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((nobody, 443), timeout=10)
    ask = f"timeout 10 wget -qO- http://{nobody}/ 2>&1 || true"
    said = kubectl("-n", namespace, "exec", "deploy/web", "--", "sh", "-c", ask)
    assert "Connection refused" in said


def test_a_pods_log_is_read(namespace: str, web: Json) -> None:
    assert kubectl("-n", namespace, "logs", "deploy/web") == "serving\n"


def test_a_node_port_answers_at_the_loopback_address(web: Json) -> None:
    port = web["spec"]["ports"][0]["nodePort"]
    assert wait_for(lambda: fetch(port, "127.0.0.1"), (200, b"hello\n"))


def test_an_ingress_of_the_default_class_is_served(namespace: str, web: Json) -> None:
    default = [
        item["metadata"]["name"]
        for item in get("ingressclasses")["items"]
        if item["metadata"].get("annotations", {}).get("ingressclass.kubernetes.io/is-default-class") == "true"
    ]
    assert default == ["contour"]
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    host = f"{namespace}.ingress.test"
    apply(
        namespace,
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "web"},
            "spec": {
                "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
            },
        },
    )
    assert wait_for(lambda: fetch(Ports().envoy_http, host), (200, b"hello\n"))


def test_a_route_of_the_gateway_is_served(namespace: str, web: Json) -> None:
    assert condition(get("-n", "projectcontour", "gateway", "modelyard"), "Programmed") == "True"
    host = f"{namespace}.gateway.test"
    apply(
        namespace,
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "web"},
            "spec": {
                "parentRefs": [{"namespace": "projectcontour", "name": "modelyard"}],
                "hostnames": [host],
                "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
            },
        },
    )
    assert wait_for(lambda: fetch(Ports().envoy_http, host), (200, b"hello\n"))


@pytest.mark.skipif(os.geteuid() != 0, reason="starting a local cluster needs root")
def test_up_on_a_running_cluster_changes_nothing() -> None:
    before = {name: processes.running(name) for name in NAMES}
    assert all(before.values())
    command = [sys.executable, "-m", "tests.cluster", "up"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=240)
    assert "up already" in done.stdout
    assert {name: processes.running(name) for name in NAMES} == before


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def get(*arguments: str) -> Json:
    found: Json = json.loads(kubectl("get", *arguments, "--output=json"))
    return found


def apply(namespace: str, *objects: Json) -> None:
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("-n", namespace, "apply", "-f", "-", stdin=items)


def condition(item: Json, name: str) -> str | None:
    return next((entry["status"] for entry in item["status"]["conditions"] if entry["type"] == name), None)


def fetch(port: int, host: str) -> tuple[int, bytes] | None:
    """GET / at a port of this machine, for a virtual host; None where nothing answers yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_for(look: Callable[[], object], wanted: object, seconds: float = 60) -> bool:
    """Look until what is wanted is there; fail with what was there instead."""
    deadline = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"{seen!r} instead of {wanted!r} after {seconds:.0f} s"
        time.sleep(0.1)
    return True
