"""Which version is served, with how many pods, and what goes: everything but the way of a single rollout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelyard.api.reasons import Reason
from modelyard.api.rollout import RefusedVersion
from modelyard.decide.modeldeployment import DRAIN, NOTHING, Problem, Reported, Revision
from modelyard.decide.rollout import Observed, Plan, frozen, is_paused, plan
from tests.unit.decide.rollouts import (
    BY_REVISION,
    FAILED,
    FRESH,
    NOW,
    V1,
    V2,
    V3,
    deployment,
    revision,
    seen,
    state,
)

Json = dict[str, Any]
MISSING = Problem(Reason.MODEL_NOT_FOUND, "gone")
DRAINED = Reported(V2.revision, {V1.revision: NOW - DRAIN})


def in_short(decided: Plan) -> tuple[int | None, dict[int, int], set[int], set[int]]:
    """Return (version served, pods of each, versions that drain, versions that go)."""
    return (
        BY_REVISION.get(decided.stable),
        {BY_REVISION[name]: number for name, number in decided.pods.items()},
        {BY_REVISION[name] for name in decided.draining},
        {BY_REVISION[name] for name in decided.remove},
    )


STARTING = revision(V2, ready=0)


@pytest.mark.parametrize(
    ("observed", "serves", "pods", "drains", "goes"),
    [
        pytest.param(
            seen(V1, stable=NOTHING, before=FRESH), 1, {1: 2}, set(), set(), id="the first version is made and selected"
        ),
        pytest.param(
            seen(V1, revision(V1, ready=0), before=FRESH),
            1, {1: 2}, set(), set(),
            id="nobody waits for it: it is served as soon as a pod of it is ready",
        ),
        pytest.param(
            seen(V2, revision(V1, ready=0), before=FRESH),
            2, {2: 2}, set(), {1},
            id="a first version that never got ready is superseded at once",
        ),
        pytest.param(seen(V1, revision(V1)), 1, {1: 2}, set(), set(), id="as it should be"),
        pytest.param(seen(V1, revision(V1, 5, 5)), 1, {1: 2}, set(), set(), id="somebody scaled it"),
        pytest.param(
            seen(V1, revision(V1, ready=0)), 1, {1: 2}, set(), set(), id="a served version that has lost all its pods"
        ),
        pytest.param(
            seen(V2, revision(V1, ready=0), STARTING),
            1, {1: 2, 2: 1}, set(), set(),
            id="still is what is served while another one comes",
        ),
        pytest.param(
            seen(V2, revision(V1), revision(V2), stable=V2.revision),
            2, {2: 2}, {1}, set(),
            id="after the switch the one before drains, also where the status was never written",
        ),
        pytest.param(
            seen(V2, revision(V1), revision(V2), stable=V2.revision, before=DRAINED),
            2, {2: 2}, set(), {1},
            id="it goes when its time is over",
        ),
        pytest.param(
            seen(V2, revision(V1, ready=0), revision(V2), stable=V2.revision),
            2, {2: 2}, set(), {1},
            id="or at once where none of its pods answers",
        ),
        pytest.param(
            seen(V2, revision(V1), revision(V2, ready=0), stable=V2.revision),
            1, {1: 2, 2: 1}, set(), set(),
            id="a switch of which nobody heard, to what has no ready pod any more, is taken back",
        ),
        pytest.param(
            seen(V3, revision(V1), STARTING), 1, {1: 2, 3: 1}, set(), {2}, id="a third version: the second goes"
        ),
        pytest.param(
            seen(V3, revision(V1), revision(V2)),
            1, {1: 2, 3: 1}, {2}, set(),
            id="after it has drained, where it may have had requests",
        ),
        pytest.param(
            seen(V1, revision(V1, 1, 1), revision(V2, 1, 1), split=True),
            1, {1: 2}, {2}, set(),
            id="back to the stable one in the middle: all pods again, the candidate drains",
        ),
        pytest.param(
            seen(V1, revision(V1), revision(V2), stable=V2.revision, before=Reported(V2.revision, {V1.revision: NOW})),
            1, {1: 2}, {2}, set(),
            id="back to one that still drains: its pods are ready, so it serves at once",
        ),
        pytest.param(
            seen(MISSING, revision(V1, 1, 1), revision(V2, 1, 1), split=True),
            1, {1: 2}, {2}, set(),
            id="the model is gone in the middle: what is served stays served",
        ),
        pytest.param(
            seen(MISSING, stable=NOTHING, before=FRESH), None, {}, set(), set(), id="nothing comes of nothing"
        ),
        pytest.param(
            seen(MISSING, revision(V1, ready=0), before=FRESH),
            None, {}, set(), {1},
            id="a first version that never got ready goes with the model",
        ),
        pytest.param(
            seen(V2, revision(V1), STARTING, stable=NOTHING),
            1, {1: 2, 2: 1}, set(), set(),
            id="the Service is lost: the status says what was served",
        ),
        pytest.param(
            seen(V2, revision(V1), STARTING, before=FRESH),
            1, {1: 2, 2: 1}, set(), set(),
            id="the status is lost: the Service says what is served",
        ),
        pytest.param(
            seen(V1, stable=V1.revision), 1, {1: 2}, set(), set(), id="its Deployment is lost: it is made anew"
        ),
        pytest.param(
            seen(V2, revision(V2), stable=V1.revision),
            2, {2: 2}, set(), set(),
            id="the Deployment of the served version is lost: the next one serves",
        ),
    ],
)  # fmt: skip
def test_what_is_served_and_what_goes(
    observed: Observed, serves: int | None, pods: dict[int, int], drains: set[int], goes: set[int]
) -> None:
    decided = plan(deployment(), observed)
    assert in_short(decided) == (serves, pods, drains, goes)
    assert not decided.split


@pytest.mark.parametrize(
    ("rest", "live", "wanted", "pods"),
    [
        pytest.param({"replicas": 0}, revision(V1), V1, {1: 0}, id="none are wanted"),
        pytest.param({"replicas": 0}, revision(V1, 0, 0), V2, {2: 0}, id="nor of another version: no rollout"),
        pytest.param({"replicas": 3}, revision(V1, 0, 0), V1, {1: 3}, id="some are wanted again"),
        pytest.param({"replicas": 10}, revision(V1), V1, {1: 10}, id="more are wanted"),
    ],
)
def test_without_a_rollout_replicas_say_how_many_pods_there_are(
    rest: Json, live: Revision, wanted: Any, pods: dict[int, int]
) -> None:
    assert in_short(plan(deployment(rest), seen(wanted, live)))[1] == pods


AUTOSCALED: Json = {"autoscaling": {"minReplicas": 2, "maxReplicas": 6, "targetCPU": 70}}


@pytest.mark.parametrize(("live", "planned"), [(0, 2), (1, 2), (4, 4), (9, 6)])
def test_with_an_autoscaler_the_live_number_stays_within_its_bounds(live: int, planned: int) -> None:
    decided = plan(deployment(AUTOSCALED), seen(V1, revision(V1, live, live)))
    assert in_short(decided)[1] == {1: planned}


def test_the_first_version_of_an_autoscaled_deployment_begins_with_the_least() -> None:
    assert in_short(plan(deployment(AUTOSCALED), seen(V1, stable=NOTHING, before=FRESH)))[1] == {1: 2}


def test_a_draining_version_is_looked_at_again_when_its_time_is_over() -> None:
    since = NOW - timedelta(seconds=4)
    before = Reported(V2.revision, {V1.revision: since})
    decided = plan(deployment(), seen(V2, revision(V1), revision(V2), stable=V2.revision, before=before))
    assert decided.draining == {V1.revision: since}
    assert decided.again_after == DRAIN.total_seconds() - 4


def test_the_plan_is_stable_once_everything_is_as_wanted() -> None:
    decided = plan(deployment(), seen(V1, revision(V1)))
    assert decided == Plan(V1.revision, {V1.revision: 2})


# Refused


def refused(version: Any = V2, generation: int = 4) -> RefusedVersion:
    return RefusedVersion(
        model="churn",
        version=version.version,
        revision=version.revision,
        digest=version.digest,
        reason=Reason.ANALYSIS_FAILED,
        message="too many errors",
        at="2026-01-15T11:00:00Z",
        generation=generation,
    )


@pytest.mark.parametrize(
    ("written", "wanted", "generation", "stands"),
    [
        pytest.param(refused(), V2, 4, True, id="it stands"),
        pytest.param(refused(), V2, 5, False, id="spec has changed: tried again"),
        pytest.param(refused(), V3, 4, False, id="another version is wanted"),
        pytest.param(refused(), V1, 4, False, id="the stable one is wanted"),
        pytest.param(refused(), MISSING, 4, False, id="nothing is wanted"),
    ],
)
def test_a_refusal_stands_until_spec_or_the_wanted_version_changes(
    written: RefusedVersion, wanted: Any, generation: int, stands: bool
) -> None:
    owner = deployment(generation=generation, refused=written.to_dict())
    decided = plan(owner, seen(wanted, revision(V1)))
    assert decided.refused == (written if stands else None)
    assert (V2.revision in decided.pods) is (not stands and wanted is V2)


@pytest.mark.parametrize(
    ("present", "serves", "pods", "drains", "goes"),
    [
        pytest.param([revision(V1), revision(V2, 1, 1)], 1, {1: 2}, {2}, set(), id="it drains"),
        pytest.param([revision(V1), revision(V2, 0, 1)], 1, {1: 2}, set(), {2}, id="it goes"),
        pytest.param([revision(V1)], 1, {1: 2}, set(), set(), id="it is gone"),
        pytest.param([revision(V2, 1, 1)], 1, {1: 2}, {2}, set(), id="the served version's Deployment is lost"),
    ],
)
def test_a_refused_version_has_no_part_in_it(
    present: list[Revision], serves: int, pods: dict[int, int], drains: set[int], goes: set[int]
) -> None:
    decided = plan(deployment(refused=refused().to_dict()), seen(V2, *present, split=True))
    assert in_short(decided) == (serves, pods, drains, goes)
    assert (decided.split, decided.weight, decided.rollout) == (False, 0, None)


@pytest.mark.parametrize(
    ("says", "aborted"), [({"abort": "2"}, True), ({"abort": " 2 "}, True), ({"abort": "3"}, False), ({}, False)]
)
def test_a_person_takes_a_candidate_back_by_its_number(says: dict[str, str], aborted: bool) -> None:
    decided = plan(deployment(says=says), seen(V2, revision(V1), revision(V2, 1, 1)))
    assert (decided.refused is not None) is aborted
    if decided.refused:
        assert (decided.refused.reason, decided.refused.generation) == (Reason.ABORTED, 4)
        assert in_short(decided) == (1, {1: 2}, {2}, set())


def test_what_is_served_is_not_taken_back() -> None:
    decided = plan(deployment(says={"abort": "1"}), seen(V1, revision(V1)))
    assert decided == Plan(V1.revision, {V1.revision: 2})


def test_a_refusal_keeps_the_figures_and_cuts_what_is_too_long() -> None:
    judgement = FAILED.__class__(FAILED.verdict, FAILED.figures, "x" * 5000)
    decided = plan(deployment(), seen(V2, revision(V1), revision(V2, 1, 1), judgement=judgement))
    assert decided.refused
    assert decided.refused.figures == FAILED.figures
    assert (len(decided.refused.message), decided.refused.at) == (1024, "2026-01-15T12:00:00Z")


# Paused


@pytest.mark.parametrize(("text", "yes"), [("true", True), ("True", True), ("false", False), ("", False)])
def test_a_deployment_is_paused_by_its_annotation(text: str, yes: bool) -> None:
    assert is_paused(deployment(says={"paused": text})) is yes


def test_what_is_paused_stays_as_it_is() -> None:
    rolling = state("RollingUpdate", 1, weight=33)
    owner = deployment(rollout=rolling.to_dict(), refused=refused(V3).to_dict())
    observed = seen(V2, revision(V1, 1, 1), revision(V2, 1, 2), split=True)
    decided = frozen(owner, observed)
    assert in_short(decided) == (1, {1: 1, 2: 2}, set(), set())
    assert (decided.split, decided.weight, decided.rollout) == (True, 33, rolling)
    assert decided.refused == refused(V3)
