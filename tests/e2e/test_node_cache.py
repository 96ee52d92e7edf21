"""Ten replicas of a model on one node: the store gives each file once, and a pod needs no cache to start."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator

import pytest

from examples.demo.kubectl import Kubectl, run
from examples.demo.steps import SYSTEM_NAMESPACE
from tests.e2e.rollouts.models import classifier, stored
from tests.e2e.rollouts.scenario import Json, Rollouts
from tests.e2e.store import ArtifactAccess

pytestmark = pytest.mark.timeout(1200)

NAME = "modelyard-node-cache"
REPLICAS = 10
SIZE = 12 * 1024 * 1024
REST: Json = {"replicas": REPLICAS, "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}
SYSTEM = Kubectl(SYSTEM_NAMESPACE)


@pytest.fixture
def served(kubectl: Kubectl, artifacts: ArtifactAccess) -> Iterator[Rollouts]:
    source = stored(artifacts, f"cached-{uuid.uuid4().hex[:8]}", classifier(20))
    artifacts.write(f"{source}/noise", os.urandom(SIZE))
    created = Rollouts(kubectl, [source])
    yield created
    created.remove()


def counted() -> dict[str, dict[str, int]]:
    """By node, what its cache has counted."""
    pods = json.loads(SYSTEM("get", "pods", "-l", "app.kubernetes.io/component=node-cache", "-o", "json"))["items"]
    found = {}
    for pod in pods:
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/metrics"
        text = run("kubectl", "get", "--raw", path)
        samples = re.findall(r"^modelyard_node_cache_(\S+) (\d+)$", text, re.MULTILINE)
        found[pod["spec"]["nodeName"]] = {name: int(value) for name, value in samples}
    return found


def test_ten_replicas_download_once(served: Rollouts) -> None:
    SYSTEM("rollout", "status", f"daemonset/{NAME}", "--timeout=120s")
    before = counted()
    # When ten pods start at about the same time
    served.given(REST)
    after = counted()
    # Then each node's cache has got the large file once, if a pod was there, and given it to every one of them.
    # (Other models are far smaller, and may be served meanwhile.)
    grown = {
        node: {name: value - before[node].get(name, 0) for name, value in samples.items()}
        for node, samples in after.items()
    }
    used = [each for each in grown.values() if each["store_bytes_total"] >= SIZE]
    assert used
    assert all(each["store_bytes_total"] < 2 * SIZE for each in used)
    assert sum(each['bytes_total{source="cache"}'] for each in used) >= REPLICAS * SIZE
    assert not any(each["faults_total"] or each["poisoned_total"] for each in grown.values())


def test_a_pod_starts_where_no_cache_is(served: Rollouts) -> None:
    # Given a cluster whose caches are on no node
    selector = {"spec": {"template": {"spec": {"nodeSelector": {"modelyard.dev/nowhere": "true"}}}}}
    SYSTEM.patch("daemonset", NAME, selector)
    try:
        SYSTEM("wait", "--for=delete", "pods", "-l", "app.kubernetes.io/component=node-cache", "--timeout=180s")
        # When a model is served, then it is
        served.given({**REST, "replicas": 1})
    finally:
        SYSTEM.patch("daemonset", NAME, {"spec": {"template": {"spec": {"nodeSelector": None}}}})
        SYSTEM("rollout", "status", f"daemonset/{NAME}", "--timeout=120s")
