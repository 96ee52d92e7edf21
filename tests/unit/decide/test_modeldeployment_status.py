"""What the status of a ModelDeployment says in each situation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelyard.api.common import ConditionStatus
from modelyard.api.modeldeployment import ModelDeploymentStatus, Phase
from modelyard.api.reasons import ConditionType, Reason
from modelyard.api.rollout import Figure, FigureVerdict, RefusedVersion, RolloutStatus
from modelyard.api.serving import ServedModel
from modelyard.decide.conditions import Verdict
from modelyard.decide.modeldeployment import NOTHING, Problem, Revision
from modelyard.decide.modeldeployment_status import Observation, status
from modelyard.decide.pods import Diagnosis
from modelyard.decide.rollout import Plan
from modelyard.decide.rollout_plan import Waiting
from tests.unit.decide.rollouts import NOW, V1, V2, deployment, digest, revision, revisions, state

Json = dict[str, Any]
TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
RECONCILING, STALLED = ConditionType.RECONCILING, ConditionType.STALLED
GONE = Problem(Reason.MODEL_NOT_FOUND, "spec.model.name: there is no RegisteredModel churn")
NO_FLAVOR = Problem(Reason.UNSUPPORTED_FLAVOR, "version 2 of churn has flavors pytorch")
CRASH = Diagnosis(Reason.CANDIDATE_FAILED, "pod web-1: DigestMismatch: expected sha256:1")
HOST = Diagnosis(Reason.OBJECT_REFUSED, "Ingress web: host taken")
NO_CLASS = Diagnosis(Reason.INGRESS_CLASS_NOT_FOUND, "Ingress web: there is no IngressClass x")
LATER = NOW + timedelta(hours=1)


def seen(
    wanted: ServedModel | Problem,
    stable: str,
    *present: Revision,
    rollout: RolloutStatus | None = None,
    waiting: Waiting | None = None,
    taken_back: RefusedVersion | None = None,
    **others: Any,
) -> Observation:
    pods = {each.revision: each.desired for each in present}
    plan = Plan(stable, pods, rollout=rollout, waiting=waiting, refused=taken_back)
    return Observation(wanted=wanted, plan=plan, revisions=revisions(*present), **others)


def served(version: int = 1) -> Json:
    return {"model": "churn", "version": version, "digest": digest(version), "since": "2026-01-01T00:00:00Z"}


BACK = RefusedVersion(
    model="churn",
    version=2,
    revision=V2.revision,
    digest=V2.digest,
    reason=Reason.ANALYSIS_FAILED,
    message="error rate 50 % is above maxErrorRate 1 %",
    at="2026-01-15T12:00:00Z",
    generation=4,
)
HELD = Waiting(Reason.AWAITING_PROMOTION, "to go on: kubectl modelyard promote web")
SHORT = Waiting(Reason.ANALYSIS_INCONCLUSIVE, "12 of 100 requests replayed")
BOTH = (revision(V1), revision(V2, 1, 1))


@pytest.mark.parametrize(
    ("observed", "phase", "reason", "serving", "extra"),
    [
        pytest.param(seen(V1, V1.revision, revision(V1)), Phase.SERVING, Reason.SERVING, TRUE, None, id="as wanted"),
        pytest.param(
            seen(V1, V1.revision, revision(V1, 0)),
            Phase.PROGRESSING, Reason.ROLLING_OUT, FALSE, RECONCILING, id="the first version starts",
        ),
        pytest.param(
            seen(V1, V1.revision, revision(V1, 0), fault=CRASH),
            Phase.DEGRADED, Reason.CANDIDATE_FAILED, FALSE, STALLED, id="the first version crashes",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, rollout=state("RollingUpdate")),
            Phase.PROGRESSING, Reason.ROLLING_OUT, TRUE, RECONCILING, id="the next version starts",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, rollout=state("Canary", 1, phase="Shifting", weight=10)),
            Phase.PROGRESSING, Reason.ROLLING_OUT, TRUE, RECONCILING, id="it has a share",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, rollout=state("Canary", 1, phase="Analysing", weight=10)),
            Phase.PROGRESSING, Reason.ANALYSING, TRUE, RECONCILING, id="it is judged",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, rollout=state("BlueGreen", phase="Held"), waiting=HELD),
            Phase.HELD, Reason.AWAITING_PROMOTION, TRUE, RECONCILING, id="it waits for a person",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, rollout=state("BlueGreen", phase="Analysing"), waiting=SHORT),
            Phase.HELD, Reason.ANALYSIS_INCONCLUSIVE, TRUE, RECONCILING, id="it waits for samples",
        ),
        pytest.param(
            seen(V2, V1.revision, revision(V1), revision(V2, 0), rollout=state("Canary"), fault=CRASH),
            Phase.DEGRADED, Reason.CANDIDATE_FAILED, TRUE, STALLED, id="it crashes: not ready, still serving",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, taken_back=BACK),
            Phase.ROLLED_BACK, Reason.ROLLED_BACK, TRUE, STALLED, id="it was taken back",
        ),
        pytest.param(
            seen(V1, V1.revision, revision(V1, 1)),
            Phase.PROGRESSING, Reason.TOO_FEW_READY_PODS, TRUE, RECONCILING, id="a pod is lost",
        ),
        pytest.param(
            seen(V1, V1.revision, revision(V1, 1), stable_fault=CRASH),
            Phase.DEGRADED, Reason.CANDIDATE_FAILED, TRUE, STALLED, id="a pod is lost and does not come back",
        ),
        pytest.param(
            seen(V1, V1.revision, revision(V1), surroundings=NO_CLASS),
            Phase.DEGRADED, Reason.INGRESS_CLASS_NOT_FOUND, TRUE, STALLED, id="no way leads to it from outside",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, rollout=state("Canary"), surroundings=NO_CLASS),
            Phase.DEGRADED, Reason.INGRESS_CLASS_NOT_FOUND, TRUE, STALLED, id="nor to the next version",
        ),
        pytest.param(
            seen(V1, V1.revision, revision(V1, 0, 0)),
            Phase.SERVING, Reason.SCALED_TO_ZERO, FALSE, None, id="nothing answers, as asked",
        ),
        pytest.param(
            seen(V2, V2.revision, revision(V2, 0, 0)),
            Phase.SERVING, Reason.SCALED_TO_ZERO, FALSE, None, id="nor does a version that never did",
        ),
        pytest.param(seen(GONE, NOTHING), Phase.PENDING, Reason.MODEL_NOT_FOUND, FALSE, None, id="no model"),
        pytest.param(
            seen(GONE, V1.revision, revision(V1)),
            Phase.DEGRADED, Reason.MODEL_NOT_FOUND, TRUE, STALLED, id="the model is gone, what was served is served",
        ),
        pytest.param(
            seen(NO_FLAVOR, V1.revision, revision(V1)),
            Phase.DEGRADED, Reason.UNSUPPORTED_FLAVOR, TRUE, STALLED, id="what is wanted cannot be served",
        ),
        pytest.param(
            seen(V1, V1.revision, revision(V1), refused=HOST),
            Phase.DEGRADED, Reason.OBJECT_REFUSED, TRUE, STALLED, id="the API server refuses an object",
        ),
    ],
)  # fmt: skip
def test_status(
    observed: Observation, phase: Phase, reason: Reason, serving: ConditionStatus, extra: ConditionType | None
) -> None:
    result = status(deployment(), observed, NOW)
    found = {condition.type: condition for condition in result.conditions}
    assert (result.phase, found["Ready"].reason) == (phase, reason)
    assert found["Ready"].status == (TRUE if phase == Phase.SERVING else FALSE)
    assert found["Serving"].status == serving
    assert set(found) == {"Ready", "Serving"} | ({extra} if extra else set())
    assert {condition.observed_generation for condition in result.conditions} == {4}


@pytest.mark.parametrize("works", [TRUE, FALSE])
def test_an_autoscaler_takes_nothing_from_what_is_served(works: ConditionStatus) -> None:
    scalable = Verdict(ConditionType.SCALABLE, works, Reason.AUTOSCALER_UNABLE, "no metrics")
    result = status(deployment(), seen(V1, V1.revision, revision(V1), autoscaler=scalable), NOW)
    found = {each.type: each.status for each in result.conditions}
    assert (result.phase, found["Ready"], found["Scalable"]) == (Phase.SERVING, TRUE, works)


def test_a_served_version_without_a_ready_pod_is_served_still() -> None:
    observed = seen(V1, V1.revision, revision(V1, 0))
    result = status(deployment(served=served()), observed, NOW)
    assert result.served
    assert (result.served.version, result.phase) == (1, Phase.DEGRADED)
    assert [each.reason for each in result.conditions[:1]] == [Reason.NO_READY_PODS]
    assert (result.replicas, result.ready_replicas) == (2, 0)


@pytest.mark.parametrize(
    ("wanted", "phase", "reason"),
    [
        (V1, Phase.PAUSED, Reason.SERVING),
        (V2, Phase.PAUSED, Reason.PAUSED),
        (GONE, Phase.DEGRADED, Reason.MODEL_NOT_FOUND),
    ],
)
def test_what_is_paused_says_so_where_something_would_be_done(
    wanted: ServedModel | Problem, phase: Phase, reason: Reason
) -> None:
    result = status(deployment(says={"paused": "true"}), seen(wanted, V1.revision, revision(V1)), NOW)
    assert (result.phase, result.conditions[0].reason) == (phase, reason)


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        pytest.param(
            seen(V2, V1.revision, revision(V1), revision(V2, 0), fault=CRASH),
            "version 2: pod web-1: DigestMismatch: expected sha256:1; version 1 stays served",
            id="why it fails and what is served meanwhile",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, rollout=state("Canary")),
            "version 2 is starting: 1 of 1 pods are ready; version 1 stays served",
            id="how far it has come",
        ),
        pytest.param(
            seen(
                V2, V1.revision, *BOTH,
                rollout=state("Canary", 2, phase="Pausing", weight=50, steps=3, actualWeight=33),
            ),
            "version 2 has 33 % of the traffic (step 2 of 3), pausing: 1 of 1 pods are ready; version 1 stays served",
            id="the share that it really has",
        ),
        pytest.param(
            seen(V2, V1.revision, *BOTH, rollout=state("Canary", 1, phase="Held", weight=10), waiting=HELD),
            "version 2 at 10 %: to go on: kubectl modelyard promote web; version 1 stays served",
            id="what to do",
        ),
        pytest.param(
            seen(V2, V1.revision, revision(V1), taken_back=BACK),
            "version 2 was taken back (AnalysisFailed): error rate 50 % is above maxErrorRate 1 %; "
            "version 1 stays served",
            id="why it was taken back",
        ),
        pytest.param(
            seen(V1, V1.revision, revision(V1)), "version 1 answers with 2 of 2 pods", id="that all is well"
        ),
    ],
)  # fmt: skip
def test_the_message_says(observed: Observation, message: str) -> None:
    assert status(deployment(), observed, NOW).conditions[0].message == message


@pytest.mark.parametrize(
    ("rest", "url"),
    [
        ({}, "http://web.ml.svc/invocations"),
        ({"ingress": {"host": "h"}}, "http://h/invocations"),
        ({"ingress": {"host": "h", "tls": {"secretName": "s"}}}, "https://h/invocations"),
        ({"gateway": {"hostname": "h", "parentRef": {"name": "g"}}}, "http://h/invocations"),
        ({"gateway": {"hostname": "h", "path": "/churn/", "parentRef": {"name": "g"}}}, "http://h/churn/invocations"),
    ],
)
def test_the_url_is_where_requests_go(rest: Json, url: str) -> None:
    assert status(deployment(rest), seen(V1, V1.revision, revision(V1)), NOW).url == url


def test_a_rollout_names_the_candidate_its_share_and_who_drains() -> None:
    rolling = state("RollingUpdate", 1, phase="Shifting", weight=33, actualWeight=33)
    observed = seen(V2, V1.revision, *BOTH, rollout=rolling)
    result = status(deployment(served=served()), observed, NOW)
    assert result.served
    assert result.candidate
    assert (result.served.version, result.candidate.version, result.weight) == (1, 2, 33)
    assert result.selector == f"modelyard.dev/deployment=web,modelyard.dev/revision={V1.revision}"
    done = Plan(V2.revision, {V2.revision: 1}, draining={V1.revision: NOW})
    after = status(deployment(**result.to_dict()), Observation(wanted=V2, plan=done, revisions=revisions(*BOTH)), NOW)
    assert (after.candidate, after.rollout, after.weight) == (None, None, None)
    assert [(each.version, each.since) for each in after.draining] == [(1, "2026-01-15T12:00:00Z")]


def test_a_version_that_was_taken_back_is_no_candidate() -> None:
    result = status(deployment(served=served()), seen(V2, V1.revision, *BOTH, taken_back=BACK), NOW)
    assert (result.candidate, result.refused) == (None, BACK)


def again(first: ModelDeploymentStatus, observed: Observation) -> ModelDeploymentStatus:
    return status(deployment(**first.to_dict()), observed, LATER)


def test_an_unchanged_situation_gives_an_equal_status_later() -> None:
    for observed in (
        seen(V1, V1.revision, revision(V1)),
        seen(V2, V1.revision, *BOTH, rollout=state("Canary"), waiting=SHORT),
        seen(V2, V1.revision, *BOTH, taken_back=BACK),
    ):
        first = status(deployment(), observed, NOW)
        assert again(first, observed) == first


def test_since_is_when_this_version_began_to_be_served() -> None:
    first = status(deployment(), seen(V1, V1.revision, revision(V1)), NOW)
    then = again(first, seen(V2, V2.revision, revision(V1), revision(V2)))
    assert first.served
    assert then.served
    assert (first.served.since, then.served.since) == ("2026-01-15T12:00:00Z", "2026-01-15T13:00:00Z")


def measured(samples: int, verdict: FigureVerdict = FigureVerdict.INCONCLUSIVE, **fields: Any) -> Observation:
    figure = Figure(name="disagreement", samples=samples, verdict=verdict)
    rollout = state("Canary", phase="Analysing", **fields).model_copy(update={"figures": (figure,)})
    waiting = Waiting(Reason.ANALYSIS_INCONCLUSIVE, f"{samples} of 100 requests replayed")
    return seen(V2, V1.revision, *BOTH, rollout=rollout, waiting=waiting)


@pytest.mark.parametrize(
    ("then", "shown"),
    [
        pytest.param(measured(13), 12, id="one sample more is no news"),
        pytest.param(measured(16), 16, id="twice as many are"),
        pytest.param(measured(13, FigureVerdict.PASSED), 13, id="as is another verdict"),
        pytest.param(measured(13, weight=10, step=1), 13, id="or another share"),
    ],
)
def test_what_is_measured_every_few_seconds_is_not_written_every_few_seconds(then: Observation, shown: int) -> None:
    first = status(deployment(served=served()), measured(12), NOW)
    after = again(first, then)
    assert after.rollout
    assert [each.samples for each in after.rollout.figures] == [shown]
    assert f"{shown} of 100" in after.conditions[0].message
    assert (after == first) is (shown == 12)
