"""Promotions under load, by each strategy: nobody's request fails, and who should not be asked is not."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from examples.demo.kubectl import Kubectl, condition, run
from examples.demo.traffic import Record
from tests.cluster import processes
from tests.e2e.rollouts.models import Swapped, classifier, stored
from tests.e2e.rollouts.scenario import Json, Rollouts, all_answered
from tests.e2e.store import ArtifactAccess
from tests.e2e.test_restart import killing_every

pytestmark = pytest.mark.timeout(1200)

SMALL = {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}
ANALYSIS = {"minSamples": 50, "maxDisagreement": "0.1"}


@pytest.fixture(scope="module")
def sources(artifacts: ArtifactAccess) -> list[str]:
    """Versions 1, 2 and 3 are good; 4 has two labels swapped."""
    good = [stored(artifacts, f"good-{seed}", classifier(seed)) for seed in range(3)]
    return [*good, stored(artifacts, "swapped", Swapped(classifier(0)))]


@pytest.fixture
def rollouts(kubectl: Kubectl, sources: list[str]) -> Iterator[Rollouts]:
    created = Rollouts(kubectl, sources)
    yield created
    created.remove()


def rest(strategy: str, replicas: int = 2, **rollout: object) -> Json:
    return {**SMALL, "replicas": replicas, "rollout": {"strategy": strategy, **rollout}}


def enough(record: Record) -> None:
    """The load was one: hundreds of requests went through the change."""
    assert record.total > 300


def test_a_rolling_update_replaces_the_pods_bit_by_bit(rollouts: Rollouts) -> None:
    # Given three pods of version 1 under load
    rollouts.given(rest("RollingUpdate", replicas=3))
    most = 0
    with rollouts.load() as load:
        # When version 2 is promoted
        rollouts.promote(2)

        def served(body: Json) -> bool:
            nonlocal most
            pods = rollouts.deployments().values()
            most = max(most, sum(each["spec"]["replicas"] for each in pods))
            ready = condition(body, "Ready").get("status") == "True"
            return ready and body["status"]["served"]["version"] == 2 and not body["status"].get("draining")

        rollouts.until(served)
        rollouts.answered("2")
    # Then nothing failed, there was never more than one pod above the three, and only version 2 is left
    all_answered(load.record, "1", "2")
    enough(load.record)
    assert most == 4
    # A Deployment's pods go after it.
    rollouts.until(lambda _: set(rollouts.pods().values()) == {"2"}, 60)


def test_a_canary_by_pod_counts_says_how_exact_its_shares_are(rollouts: Rollouts) -> None:
    steps = [{"weight": 20, "hold": True}, {"weight": 50, "pause": "2s"}]
    rollouts.given(rest("Canary", replicas=2, steps=steps))
    with rollouts.load() as load:
        rollouts.promote(2)
        status = rollouts.at(step=1, phase="Held")["status"]
        # Two stable pods and one candidate: a third is the nearest to 20 % that can be had
        assert (status["rollout"]["weight"], status["rollout"]["actualWeight"], status["weight"]) == (20, 33, 33)
        assert status["rollout"]["traffic"] == "PodCounts"
        assert condition(rollouts.reason("AwaitingPromotion"), "Serving")["status"] == "True"
        # Envoy hears of the candidate after the operator does.
        rollouts.answered("2")
        found = rollouts.shares(300)
        assert 0.15 < found["2"] < 0.5
        rollouts.annotate(promote="2/1")
        rollouts.served(2)
        rollouts.answered("2")
    all_answered(load.record, "1", "2")
    enough(load.record)


def test_a_canary_by_a_route_has_the_very_share(rollouts: Rollouts) -> None:
    steps = [{"weight": 20, "hold": True}, {"weight": 60, "pause": "2s"}]
    rollouts.given(rest("Canary", replicas=1, steps=steps), route=True)
    with rollouts.load() as load:
        rollouts.promote(2)
        status = rollouts.at(step=1, phase="Held")["status"]
        assert (status["rollout"]["traffic"], status["rollout"]["actualWeight"]) == ("HTTPRoute", 20)
        rollouts.answered("2")
        assert rollouts.shares(500)["2"] == pytest.approx(0.2, abs=0.07)
        rollouts.annotate(promote="2/1")
        rollouts.served(2)
        rollouts.answered("2")
    all_answered(load.record, "1", "2")
    enough(load.record)


def test_blue_green_switches_all_at_once_after_somebody_looked(rollouts: Rollouts) -> None:
    rollouts.given(rest("BlueGreen", hold=True))
    with rollouts.load() as load:
        rollouts.promote(2)
        rollouts.reason("AwaitingPromotion")
        assert set(load.record.answers) == {"1"}
        # The candidate can be looked at by a Service of its own
        preview = rollouts.kubectl.get("service", f"{rollouts.name}-candidate")
        assert preview is not None
        rollouts.annotate(promote="2/0")
        rollouts.served(2)
        rollouts.answered("2")
    all_answered(load.record, "1", "2")
    assert rollouts.kubectl.get("service", f"{rollouts.name}-candidate") is None


def test_a_shadow_answers_copies_that_nobody_gets(rollouts: Rollouts) -> None:
    analysis = {**ANALYSIS, "minSamples": 100}
    rollouts.given(rest("Shadow", hold=True, analysis=analysis))
    with rollouts.load() as load:
        rollouts.promote(2)
        rollouts.reason("AwaitingPromotion", 240)
        figures = {each["name"]: each for each in rollouts.status()["rollout"]["figures"]}
        assert figures["disagreement"]["verdict"] == "Passed"
        assert figures["disagreement"]["samples"] >= 100
        assert set(load.record.answers) == {"1"}, "no answer of the shadow is anybody's"
        rollouts.annotate(promote="2/0")
        rollouts.served(2)
        rollouts.answered("2")
    all_answered(load.record, "1", "2")


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Canary"])
def test_a_bad_version_gets_no_request_and_is_not_tried_again(rollouts: Rollouts, strategy: str) -> None:
    steps = {"steps": [{"weight": 50, "pause": "1s"}]} if strategy == "Canary" else {}
    rollouts.given(rest(strategy, replicas=1, analysis=ANALYSIS, **steps))
    with rollouts.load() as load:
        rollouts.promote(4)
        body = rollouts.reason("RolledBack", 240)
        message = condition(body, "Ready")["message"]
        assert "version 4 was taken back (AnalysisFailed)" in message
        assert "maxDisagreement" in message
        assert "version 1 stays served" in message
        assert (body["status"]["phase"], body["status"]["refused"]["version"]) == ("RolledBack", 4)
        assert condition(body, "Serving")["status"] == "True"
        rollouts.until(lambda _: set(rollouts.deployments()) == {1}, 60)
        # A version that was taken back is in nobody's way
        rollouts.promote(2)
        rollouts.served(2)
        rollouts.answered("2")
        rollouts.until(lambda body: "refused" not in body["status"])
    all_answered(load.record, "1", "2")


def test_a_promotion_in_the_middle_of_a_rollout_takes_its_place(rollouts: Rollouts) -> None:
    rollouts.given(rest("Canary", replicas=1, steps=[{"weight": 50, "hold": True}]))
    with rollouts.load() as load:
        rollouts.promote(2)
        rollouts.at(version=2, step=1, phase="Held")
        rollouts.promote(3)
        rollouts.at(version=3, step=1, phase="Held")
        # Version 2 was asked until then, and drains.
        rollouts.until(lambda _: set(rollouts.deployments()) == {1, 3}, 60)
        rollouts.annotate(promote="3")
        rollouts.served(3)
        rollouts.answered("3")
    all_answered(load.record, "1", "2", "3")


def test_an_abort_and_a_pause_are_annotations(rollouts: Rollouts) -> None:
    rollouts.given(rest("Canary", replicas=1, steps=[{"weight": 50, "hold": True}]))
    with rollouts.load() as load:
        rollouts.annotate(paused="true")
        rollouts.promote(2)
        rollouts.reason("Paused")
        assert set(rollouts.deployments()) == {1}
        rollouts.annotate(paused=None)
        rollouts.at(version=2, step=1, phase="Held")
        rollouts.annotate(abort="2")
        body = rollouts.reason("RolledBack")
        assert body["status"]["refused"]["reason"] == "Aborted"
        rollouts.until(lambda _: set(rollouts.deployments()) == {1}, 60)
    assert load.record.failures == []


def test_a_rollout_goes_on_while_the_operator_is_killed_again_and_again(rollouts: Rollouts) -> None:
    steps = [{"weight": 30, "pause": "3s"}, {"weight": 60, "pause": "3s"}]
    rollouts.given(rest("Canary", replicas=2, steps=steps, analysis={**ANALYSIS, "maxErrorRate": "0.05"}))
    with rollouts.load() as load, killing_every(4.0) as kills:
        rollouts.promote(2)
        rollouts.served(2)
        rollouts.answered("2")
    assert kills[0] >= 2
    all_answered(load.record, "1", "2")
    enough(load.record)


def test_a_rollout_goes_on_after_the_api_server_was_killed(rollouts: Rollouts) -> None:
    rollouts.given(rest("Canary", replicas=2, steps=[{"weight": 30, "pause": "5s"}, {"weight": 60, "pause": "3s"}]))
    with rollouts.load() as load:
        rollouts.promote(2)
        rollouts.at(step=1)
        killed_api_server()
        rollouts.served(2)
        rollouts.answered("2")
    all_answered(load.record, "1", "2")
    enough(load.record)


def killed_api_server() -> None:
    """Kill the local cluster's API server, and start it again."""
    record = processes.running("kube-apiserver")
    if record is None:
        pytest.skip("KUBECONFIG names a cluster of the user's own")
    os.kill(record.pid, signal.SIGKILL)
    run(sys.executable, "-m", "tests.cluster", "up")


def test_an_operator_of_another_release_restarts_no_model_pod(rollouts: Rollouts) -> None:
    rollouts.given(rest("RollingUpdate"))
    before = rollouts.pods()
    operator = Kubectl("modelyard-system")
    name, variable = "deployment/modelyard-operator", "MODELYARD_SERVING_IMAGE"
    (image,) = _values(operator, variable)
    # As an upgrade of the chart does: the next operator has another image for model pods
    try:
        operator("set", "env", name, f"{variable}=localhost/modelyard/serving:of-another-release")
        operator("rollout", "status", name, "--timeout=300s")
        # It has looked at the deployment: an edit of its own reaches the Service
        rollouts.kubectl.patch("service", rollouts.name, {"spec": {"selector": {"modelyard.dev/revision": "nobody"}}})
        rollouts.answered("1", 120)
        assert rollouts.pods() == before
    finally:
        operator("set", "env", name, f"{variable}={image}")
        operator("rollout", "status", name, "--timeout=300s")
    rollouts.served(1)
    assert rollouts.pods() == before


def _values(kubectl: Kubectl, variable: str) -> list[str]:
    body = json.loads(kubectl("get", "deployment", "modelyard-operator", "-o", "json"))
    environment = body["spec"]["template"]["spec"]["containers"][0]["env"]
    return [each["value"] for each in environment if each["name"] == variable]
