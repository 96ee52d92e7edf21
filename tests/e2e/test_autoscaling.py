"""A model that gets more pods under load: the autoscaler has their number, and the operator leaves it alone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo.kubectl import CommandFailed, Kubectl, condition, run
from tests.e2e.rollouts.models import classifier, stored
from tests.e2e.rollouts.scenario import Json, Rollouts
from tests.e2e.store import ArtifactAccess
from tests.e2e.test_quiet import WRITES, requests

pytestmark = pytest.mark.timeout(1500)

SCALE_SECONDS = 300.0
"""Figures come every ten seconds or so and the autoscaler looks every fifteen; a new pod's first ones count late."""

WATCHED_SECONDS = 20.0
# A few millicores of a pod are more than half of what it asks for as soon as it is asked something.
REST: Json = {
    "replicas": 1,
    "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}},
    "autoscaling": {"minReplicas": 1, "maxReplicas": 3, "targetCPU": 50},
}


@pytest.fixture(scope="module")
def metrics(cluster: None) -> None:
    """A cluster with metrics of its pods."""
    try:
        run("kubectl", "get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes")
    except CommandFailed:
        run(sys.executable, "-m", "tests.cluster", "metrics")


@pytest.fixture
def scaled(kubectl: Kubectl, artifacts: ArtifactAccess, metrics: None) -> Iterator[Rollouts]:
    sources = [stored(artifacts, f"scaled-{seed}", classifier(seed)) for seed in range(2)]
    created = Rollouts(kubectl, sources)
    yield created
    created.remove()


def autoscaler(scaled: Rollouts) -> Json:
    body = scaled.kubectl.get("hpa", scaled.name)
    assert body is not None
    return body


def wait_for_pods(scaled: Rollouts, count: int) -> None:
    """Wait until the autoscaler wants that many and all of them answer."""

    def holds(body: Json) -> bool:
        status = body["status"]
        return (status["replicas"], status["readyReplicas"]) == (count, count)

    scaled.until(holds, SCALE_SECONDS)


def test_load_brings_pods_that_the_operator_leaves_alone(scaled: Rollouts) -> None:
    # Given a model with one pod, that may have three
    scaled.given(REST)
    log = Path(os.environ["MODELYARD_AUDIT_LOG"])
    before = log.stat().st_size
    with scaled.load() as load:
        # When it is asked much
        wait_for_pods(scaled, 3)
        # Then it has three, and it stays served and Ready for as long as the load lasts
        deadline = time.monotonic() + WATCHED_SECONDS
        while time.monotonic() < deadline:
            assert condition({"status": scaled.status()}, "Ready")["status"] == "True"
            assert scaled.deployments()[1]["spec"]["replicas"] == 3
            time.sleep(1)
    assert load.record.failures == []
    # And the operator wrote its status, and no Deployment
    assert written(log, before, scaled) == {"modeldeployments"}
    status = autoscaler(scaled)["status"]
    assert status["desiredReplicas"] == 3
    assert condition({"status": status}, "ScalingActive")["status"] == "True"


def test_a_promotion_keeps_the_pods_that_the_load_has_brought(scaled: Rollouts) -> None:
    # Given a model that load has brought to three pods
    scaled.given(REST)
    with scaled.load() as load:
        wait_for_pods(scaled, 3)
        # When another version is promoted
        scaled.promote(2)
        scaled.served(2)
        # Then it begins with as many, and the autoscaler is the new version's
        deployment = scaled.deployments()[2]
        assert deployment["spec"]["replicas"] == 3
        target = autoscaler(scaled)["spec"]["scaleTargetRef"]["name"]
        assert target == deployment["metadata"]["name"]
    assert load.record.failures == []


def test_there_are_never_fewer_pods_than_the_least(scaled: Rollouts) -> None:
    # Given a model that has two pods at least
    scaled.given({**REST, "autoscaling": {**REST["autoscaling"], "minReplicas": 2}})
    wait_for_pods(scaled, 2)
    # Then an eviction may take one of them at a time
    budget = scaled.kubectl.get("poddisruptionbudget", scaled.name)
    assert budget is not None
    assert budget["spec"]["maxUnavailable"] == 1
    # And when somebody takes one away by hand, it comes back
    name = scaled.deployments()[1]["metadata"]["name"]
    scaled.kubectl("scale", "deployment", name, "--replicas=1")
    scaled.kubectl.wait_for("deployment", name, lambda body: body["spec"]["replicas"] == 2, SCALE_SECONDS)
    wait_for_pods(scaled, 2)


def written(log: Path, since: int, scaled: Rollouts) -> set[str]:
    """Return the resources of which the operator wrote an object of the model's, after that byte of the audit log."""
    events: list[Json] = [dict(each) for each in requests(log, since) if each["verb"] in WRITES]
    references = [each["objectRef"] for each in events]
    return {each["resource"] for each in references if each["name"].startswith(scaled.name)}
