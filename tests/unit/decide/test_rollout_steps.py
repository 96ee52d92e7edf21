"""The way of one rollout: from the first pod of a candidate to all of the traffic, or back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelyard.api.reasons import Reason
from modelyard.api.rollout import RolloutStatus, TrafficMethod
from modelyard.decide.pods import Diagnosis
from modelyard.decide.rollout import Observed, Plan, plan
from tests.unit.decide.rollouts import (
    BY_REVISION,
    FAILED,
    NOW,
    PASSED,
    UNCLEAR,
    V1,
    V2,
    V3,
    deployment,
    revision,
    seen,
    state,
)

Json = dict[str, Any]
STEPS = [{"weight": 10, "pause": "2m"}, {"weight": 50, "hold": True}, {"weight": 80, "pause": "1m"}]
LONG_AGO, JUST_NOW = "2026-01-15T11:50:00Z", "2026-01-15T11:59:50Z"


def rest(strategy: str = "RollingUpdate", replicas: int = 10, **rollout: Any) -> Json:
    steps = {"steps": STEPS} if strategy == "Canary" else {}
    return {"replicas": replicas, "rollout": {"strategy": strategy, **steps, **rollout}}


def decide(spec: Json, observed: Observed, at: RolloutStatus | None = None, **says: str) -> Plan:
    status: Json = {"rollout": at.to_dict()} if at else {}
    return plan(deployment(spec, says=says, **status), observed)


def ready(stable: int, candidate: int, wanted: int | None = None, **others: Any) -> Observed:
    """Return what is seen with so many ready pods of each side; `wanted`: of the candidate."""
    present = revision(V1, stable, stable)
    return seen(V2, present, revision(V2, candidate, candidate if wanted is None else wanted), **others)


def counts(decided: Plan) -> dict[int, int]:
    return {BY_REVISION[name]: number for name, number in decided.pods.items()}


def at(decided: Plan) -> tuple[str, int, int] | None:
    """Return (phase, step, weight) of the rollout; None where it has ended."""
    found = decided.rollout
    return (found.phase.value, found.step, found.weight) if found else None


# Before any traffic


@pytest.mark.parametrize(
    ("spec", "pods"),
    [
        (rest("RollingUpdate"), {1: 10, 2: 3}),
        (rest("RollingUpdate", maxSurge=100), {1: 10, 2: 10}),
        (rest("RollingUpdate", 1), {1: 1, 2: 1}),
        (rest("Canary"), {1: 10, 2: 1}),
        (rest("BlueGreen"), {1: 10, 2: 10}),
        (rest("Shadow", hold=True), {1: 10, 2: 1}),
    ],
)
def test_a_candidate_starts_beside_what_is_served(spec: Json, pods: dict[int, int]) -> None:
    decided = decide(spec, seen(V2, revision(V1, 10, 10)))
    assert (counts(decided), at(decided)) == (pods, ("Starting", 0, 0))
    assert (decided.split, decided.stable, decided.candidate) == (False, V1.revision, V2.revision)
    assert decided.again_after == 300


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Canary", "BlueGreen", "Shadow"])
def test_nothing_gets_traffic_without_having_passed_its_analysis(strategy: str) -> None:
    watched: Json = {"pause": "1m"} if strategy == "Shadow" else {}
    spec = rest(strategy, analysis={}, **watched)
    for judgement, reason in ((None, None), (UNCLEAR, Reason.ANALYSIS_INCONCLUSIVE)):
        decided = decide(spec, ready(10, 10, judgement=judgement), state(strategy, stepSince=LONG_AGO))
        assert (at(decided), decided.split, decided.weight) == (("Analysing", 0, 0), False, 0)
        assert (decided.waiting.reason if decided.waiting else None) == reason
        assert decided.again_after
        assert decided.again_after <= 10
    refused = decide(spec, ready(10, 10, judgement=FAILED), state(strategy))
    assert refused.refused
    assert (refused.refused.reason, refused.refused.message) == (Reason.ANALYSIS_FAILED, "so it was found")
    assert (counts(refused), refused.rollout) == ({1: 10}, None)
    passed = decide(spec, ready(10, 10, judgement=PASSED), state(strategy, stepSince=LONG_AGO))
    assert at(passed) is None or at(passed) == ("Pausing", 1, 10)
    assert passed.refused is None


def test_a_shadow_is_always_judged() -> None:
    decided = decide(rest("Shadow", hold=True), ready(10, 1), state("Shadow"), promote="")
    assert at(decided) == ("Analysing", 0, 0)


@pytest.mark.parametrize("strategy", ["BlueGreen", "Shadow"])
@pytest.mark.parametrize(
    ("since", "phase"),
    [(None, "Pausing"), (JUST_NOW, "Pausing"), (LONG_AGO, None)],
)
def test_before_the_switch_there_may_be_a_pause(strategy: str, since: str | None, phase: str | None) -> None:
    reached: Json = {"stepSince": since} if since else {}
    decided = decide(rest(strategy, pause="1m"), ready(10, 10, judgement=PASSED), state(strategy, **reached))
    assert decided.stable == (V1.revision if phase else V2.revision)
    assert at(decided) == ((phase, 0, 0) if phase else None)
    if phase:
        assert decided.rollout
        assert decided.rollout.step_since == (since or "2026-01-15T12:00:00Z")


@pytest.mark.parametrize(
    ("promote", "passes"),
    [
        ("", False),
        ("2", True),
        ("2/0", True),
        ("2/3", True),
        ("3", False),
        ("3/0", False),
        ("2/x", False),
        ("2/", False),
    ],
)
@pytest.mark.parametrize("strategy", ["BlueGreen", "Shadow"])
def test_before_the_switch_there_may_be_a_hold(strategy: str, promote: str, passes: bool) -> None:
    spec = rest(strategy, hold=True)
    decided = decide(spec, ready(10, 10, judgement=PASSED), state(strategy, stepSince=LONG_AGO), promote=promote)
    assert decided.stable == (V2.revision if passes else V1.revision)
    if not passes:
        assert at(decided) == ("Held", 0, 0)
        assert decided.waiting
        assert decided.waiting.reason == Reason.AWAITING_PROMOTION
        assert "kubectl modelyard promote web" in decided.waiting.message


@pytest.mark.parametrize(("promote", "passes"), [("2", True), ("2/0", True), ("1/0", False)])
def test_a_person_may_pass_an_analysis_that_comes_to_nothing(promote: str, passes: bool) -> None:
    decided = decide(rest("BlueGreen", analysis={}), ready(10, 10, judgement=UNCLEAR), promote=promote)
    assert (decided.stable == V2.revision) is passes


@pytest.mark.parametrize(("promote", "refused"), [("2/0", True), ("2", False)])
def test_only_a_whole_promotion_overrules_an_analysis_that_failed(promote: str, refused: bool) -> None:
    decided = decide(rest("BlueGreen", analysis={}), ready(10, 10, judgement=FAILED), promote=promote)
    assert (decided.refused is not None) is refused


def test_a_shadow_gets_the_pods_for_all_of_the_traffic_before_it_gets_it() -> None:
    spec, since = rest("Shadow", pause="1m"), state("Shadow", stepSince=LONG_AGO)
    decided = decide(spec, ready(10, 1, judgement=PASSED), since)
    assert (counts(decided), at(decided), decided.stable) == ({1: 10, 2: 10}, ("Finishing", 0, 0), V1.revision)


def test_no_traffic_is_shared_by_pods_of_three_versions() -> None:
    present = (revision(V1, 10, 10), revision(V2, 3, 3), revision(V3, 3, 3))
    decided = decide(rest(), seen(V3, *present))
    assert (at(decided), decided.split, counts(decided)) == (("Starting", 0, 0), False, {1: 10, 3: 3})


# What gives a candidate up


CRASHED = Diagnosis(Reason.LOAD_FAILED, "LoadFailed: no such node", permanent=True)
HANGS = Diagnosis(Reason.CANDIDATE_FAILED, "Error, exit code 1")
NO_NODE = Diagnosis(Reason.UNSCHEDULABLE, "0/1 nodes are available")


@pytest.mark.parametrize(
    ("fault", "seconds", "reason"),
    [
        pytest.param(CRASHED, 1, Reason.LOAD_FAILED, id="the model is at fault: at once"),
        pytest.param(HANGS, 299, None, id="what may mend has its time"),
        pytest.param(HANGS, 300, Reason.CANDIDATE_NOT_READY, id="and no more"),
        pytest.param(None, 299, None, id="it only takes long"),
        pytest.param(None, 300, Reason.CANDIDATE_NOT_READY, id="too long"),
        pytest.param(
            Diagnosis(Reason.CANDIDATE_NOT_READY, "progress deadline"),
            301,
            Reason.CANDIDATE_NOT_READY,
            id="the Deployment's controller says so, too",
        ),
        pytest.param(NO_NODE, 9000, None, id="nothing is given up for its surroundings"),
    ],
)
def test_a_candidate_that_does_not_start(fault: Diagnosis | None, seconds: int, reason: Reason | None) -> None:
    begun = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    decided = decide(rest(), ready(10, 0, 3, fault=fault), state("RollingUpdate", startedAt=begun))
    assert (decided.refused.reason if decided.refused else None) == reason
    assert counts(decided) == ({1: 10} if reason else {1: 10, 2: 3})


@pytest.mark.parametrize(("seconds", "renewed"), [(100, False), (151, True), (9000, True)])
def test_time_that_the_surroundings_take_is_not_the_models(seconds: int, renewed: bool) -> None:
    begun = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    decided = decide(rest(), ready(10, 0, 3, fault=NO_NODE), state("RollingUpdate", startedAt=begun))
    assert decided.rollout
    assert decided.rollout.started_at == ("2026-01-15T12:00:00Z" if renewed else begun)


def test_a_candidate_that_was_ready_once_is_not_given_up_for_a_pod_that_it_loses() -> None:
    held = state("BlueGreen", startedAt=LONG_AGO, stepSince=LONG_AGO, phase="Held")
    decided = decide(rest("BlueGreen", hold=True), ready(10, 9, 10), held)
    assert (decided.refused, at(decided)) == (None, ("Starting", 0, 0))
    assert decided.rollout
    assert decided.rollout.step_since == LONG_AGO


@pytest.mark.parametrize(("weight", "restarts", "refused"), [(0, 1, False), (10, 0, False), (10, 1, True)])
def test_a_restart_with_traffic_gives_it_up(weight: int, restarts: int, refused: bool) -> None:
    known = state("Canary", 1, weight=weight, stepSince=JUST_NOW)
    decided = decide(rest("Canary"), ready(10, 1, restarts=restarts), known)
    assert (decided.refused is not None) is refused
    if decided.refused:
        assert decided.refused.reason == Reason.CANDIDATE_RESTARTED


# Rolling update


@pytest.mark.parametrize(
    ("replicas", "stable", "candidate", "pods", "weight"),
    [
        (10, 10, 3, {1: 7, 2: 3}, 30),
        (10, 7, 3, {1: 7, 2: 6}, 46),
        (10, 4, 6, {1: 4, 2: 9}, 69),
        (10, 1, 9, {1: 1, 2: 10}, 91),
        (3, 3, 1, {1: 2, 2: 1}, 33),
        (3, 2, 1, {1: 2, 2: 2}, 50),
        (2, 2, 1, {1: 1, 2: 1}, 50),
    ],
)
def test_a_rolling_update_replaces_pods_bit_by_bit(
    replicas: int, stable: int, candidate: int, pods: dict[int, int], weight: int
) -> None:
    decided = decide(rest(replicas=replicas), ready(stable, candidate), state("RollingUpdate", 1))
    assert (counts(decided), at(decided), decided.split) == (pods, ("Shifting", 1, weight), True)
    assert decided.rollout
    assert decided.rollout.actual_weight == round(100 * candidate / (stable + candidate))


@pytest.mark.parametrize("replicas", [1, 2, 3, 10])
def test_a_rolling_update_ends_when_all_pods_are_ready(replicas: int) -> None:
    decided = decide(rest(replicas=replicas), ready(1, replicas), state("RollingUpdate", 1))
    assert decided.stable == V2.revision
    assert (counts(decided), at(decided), decided.split) == ({2: replicas}, None, False)
    assert set(decided.draining) == {V1.revision}


def test_a_rolling_update_that_loses_its_new_pods_gives_the_old_ones_back() -> None:
    decided = decide(rest(), ready(4, 0, 9), state("RollingUpdate", 1, weight=69))
    assert counts(decided) == {1: 10, 2: 3}
    assert (decided.split, decided.weight) == (False, 0)


def test_a_rolling_update_keeps_something_to_go_back_to_while_it_is_judged() -> None:
    known = state("RollingUpdate", 1, weight=91, stepSince=JUST_NOW)
    decided = decide(rest(analysis={}), ready(1, 10, judgement=UNCLEAR), known)
    assert (counts(decided), at(decided), decided.split) == ({1: 1, 2: 10}, ("Analysing", 1, 91), True)
    back = decide(rest(analysis={}), ready(1, 10, judgement=FAILED), known)
    assert (counts(back), back.split, back.stable) == ({1: 10}, False, V1.revision)


def test_with_an_autoscaler_the_stable_pods_stay_and_the_candidate_gets_as_many() -> None:
    spec = {**rest(), "autoscaling": {"minReplicas": 2, "maxReplicas": 9, "targetCPU": 70}}
    decided = decide(spec, ready(4, 1), state("RollingUpdate", 1))
    assert (counts(decided), at(decided)) == ({1: 4, 2: 4}, ("Shifting", 1, 50))
    assert counts(decide(spec, ready(4, 4), state("RollingUpdate", 1))) == {2: 4}


# Canary


ROUTED: Json = {"method": TrafficMethod.HTTP_ROUTE}


@pytest.mark.parametrize(
    ("method", "known", "observed", "pods", "then"),
    [
        pytest.param(
            "route", state("Canary"), (10, 1), {1: 10, 2: 1}, ("Pausing", 1, 10), id="ready: the first share at once"
        ),
        pytest.param(
            "route", state("Canary", 1, weight=10, stepSince=JUST_NOW), (10, 1),
            {1: 10, 2: 1}, ("Pausing", 1, 10), id="it stays for its pause",
        ),
        pytest.param(
            "route", state("Canary", 1, weight=10, stepSince=LONG_AGO), (10, 1),
            {1: 10, 2: 5}, ("Shifting", 2, 10), id="then the pods come before the share that they bear",
        ),
        pytest.param(
            "route", state("Canary", 2, weight=10), (10, 4), {1: 10, 2: 5}, ("Shifting", 2, 10), id="all of them"
        ),
        pytest.param(
            "route", state("Canary", 2, weight=10), (10, 5), {1: 10, 2: 5}, ("Held", 2, 50), id="and then the share"
        ),
        pytest.param(
            "route", state("Canary", 2, weight=50, stepSince=LONG_AGO), (10, 5),
            {1: 10, 2: 5}, ("Held", 2, 50), id="a hold has no end",
        ),
        pytest.param(
            "route", state("Canary", 2, weight=50, stepSince=LONG_AGO), (10, 4, 5),
            {1: 10, 2: 5}, ("Shifting", 2, 50), id="a lost pod takes no share away",
        ),
        pytest.param(
            "route", state("Canary", 2, weight=50, stepSince=LONG_AGO), (10, 0, 5),
            {1: 10, 2: 5}, ("Shifting", 2, 0), id="the last one does",
        ),
        pytest.param(
            "route", state("Canary", 3, weight=80, stepSince=LONG_AGO), (10, 8),
            {1: 10, 2: 10}, ("Finishing", 3, 80), id="after the last step, all the pods",
        ),
        pytest.param(
            "route", state("Canary", 3, weight=80, stepSince=LONG_AGO), (10, 10), {2: 10}, None, id="then everything"
        ),
        pytest.param(
            "pods", state("Canary"), (10, 1), {1: 10, 2: 1}, ("Pausing", 1, 10), id="by pods: one beside ten"
        ),
        pytest.param(
            "pods", state("Canary", 2, weight=10), (10, 1),
            {1: 10, 2: 10}, ("Shifting", 2, 10), id="by pods: as many as of the stable version",
        ),
        pytest.param(
            "pods", state("Canary", 3, weight=50), (10, 10),
            {1: 2, 2: 10}, ("Pausing", 3, 80), id="by pods: above a half the stable version's go",
        ),
        pytest.param(
            "pods", state("Canary", 3, weight=50), (10, 4, 10),
            {1: 6, 2: 10}, ("Shifting", 3, 50), id="by pods: but not before the others are ready",
        ),
    ],
)  # fmt: skip
def test_a_canary_goes_step_by_step(
    method: str,
    known: RolloutStatus,
    observed: tuple[int, ...],
    pods: dict[int, int],
    then: tuple[str, int, int] | None,
) -> None:
    how = ROUTED if method == "route" else {}
    decided = decide(rest("Canary"), ready(*observed, **how), known)
    assert (counts(decided), at(decided)) == (pods, then)
    by_pods = method == "pods" and then is not None and then[2] > 0
    assert decided.split is by_pods


@pytest.mark.parametrize(
    ("judgement", "since", "then"),
    [
        (PASSED, None, ("Pausing", 1, 10)),
        (UNCLEAR, LONG_AGO, ("Analysing", 1, 10)),
        (None, LONG_AGO, ("Analysing", 1, 10)),
        (PASSED, JUST_NOW, ("Pausing", 1, 10)),
        (PASSED, LONG_AGO, ("Shifting", 2, 10)),
        (FAILED, LONG_AGO, None),
    ],
)
def test_a_share_is_judged_by_what_came_of_it(
    judgement: Any, since: str | None, then: tuple[str, int, int] | None
) -> None:
    reached: Json = {"stepSince": since, "weight": 10} if since else {}
    known = state("Canary", 1, **reached)
    decided = decide(rest("Canary", analysis={}), ready(10, 1, judgement=judgement, **ROUTED), known)
    assert at(decided) == then
    assert decided.weight == (then[2] if then else 0)


@pytest.mark.parametrize(
    ("promote", "then"),
    [
        ("", ("Held", 2, 50)),
        ("2/1", ("Held", 2, 50)),
        ("2/2", ("Shifting", 3, 50)),
        ("2/9", ("Shifting", 3, 50)),
        ("2", ("Shifting", 3, 50)),
        ("1", ("Held", 2, 50)),
    ],
)
def test_a_person_passes_a_hold_by_its_step(promote: str, then: tuple[str, int, int]) -> None:
    known = state("Canary", 2, weight=50, stepSince=LONG_AGO)
    assert at(decide(rest("Canary"), ready(10, 5, **ROUTED), known, promote=promote)) == then


def test_a_whole_promotion_takes_every_step_as_soon_as_its_pods_are_there() -> None:
    decided = decide(rest("Canary"), ready(10, 10, judgement=UNCLEAR, **ROUTED), state("Canary"), promote="2")
    assert (counts(decided), decided.stable) == ({2: 10}, V2.revision)


def test_a_lost_status_begins_the_rollout_again_without_traffic_until_it_is_judged() -> None:
    decided = decide(rest("Canary", analysis={}), ready(10, 5, judgement=UNCLEAR, **ROUTED))
    assert (at(decided), decided.weight) == (("Analysing", 0, 0), 0)


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(state("Canary", 2, version=V3, weight=50), id="that of another version"),
        pytest.param(state("BlueGreen", weight=0), id="that of another strategy"),
    ],
)
def test_a_state_that_is_not_of_this_rollout_counts_for_nothing(known: RolloutStatus) -> None:
    decided = decide(rest("Canary"), ready(10, 0, 1, **ROUTED), known)
    assert at(decided) == ("Starting", 0, 0)
    assert decided.rollout
    assert decided.rollout.started_at == "2026-01-15T12:00:00Z"


def test_fewer_steps_than_were_taken_leave_the_last() -> None:
    spec = {**rest("Canary"), "rollout": {"strategy": "Canary", "steps": STEPS[:2]}}
    decided = decide(spec, ready(10, 8, **ROUTED), state("Canary", 3, weight=80, stepSince=JUST_NOW))
    assert at(decided) == ("Held", 2, 50)


@pytest.mark.parametrize(
    ("strategy", "method", "traffic"),
    [
        ("Canary", TrafficMethod.HTTP_ROUTE, TrafficMethod.HTTP_ROUTE),
        ("Canary", TrafficMethod.INGRESS_CANARY, TrafficMethod.INGRESS_CANARY),
        ("Canary", TrafficMethod.POD_COUNTS, TrafficMethod.POD_COUNTS),
        ("RollingUpdate", TrafficMethod.HTTP_ROUTE, TrafficMethod.POD_COUNTS),
        ("BlueGreen", TrafficMethod.HTTP_ROUTE, TrafficMethod.SWITCH),
        ("Shadow", TrafficMethod.INGRESS_CANARY, TrafficMethod.SWITCH),
    ],
)
def test_only_a_canary_has_shares_by_routes(strategy: str, method: TrafficMethod, traffic: TrafficMethod) -> None:
    held: Json = {"hold": True} if strategy in ("BlueGreen", "Shadow") else {}
    decided = decide(rest(strategy, **held), ready(10, 0, method=method))
    assert decided.rollout
    assert decided.rollout.traffic == traffic


@pytest.mark.parametrize(("text", "minutes"), [("90s", 1.5), ("2m", 2), ("1h30m", 90), ("1h0m30s", 60.5)])
def test_a_pause_is_as_long_as_it_says(text: str, minutes: float) -> None:
    for seconds, over in ((-1, False), (0, True)):
        since = (NOW - timedelta(minutes=minutes, seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        decided = decide(rest("BlueGreen", pause=text), ready(10, 10), state("BlueGreen", stepSince=since))
        assert (decided.stable == V2.revision) is over
