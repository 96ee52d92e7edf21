"""What the status of a ModelDeployment says in each situation."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modelyard.api.common import ConditionStatus
from modelyard.api.modeldeployment import Phase
from modelyard.api.reasons import ConditionType, Reason
from modelyard.api.serving import ServedModel
from modelyard.decide.modeldeployment import NOTHING, Plan, Problem, Rollout
from modelyard.decide.modeldeployment_status import Observation, status
from modelyard.decide.pods import Diagnosis
from tests.unit.decide.test_modeldeployment import NOW, V1, V2, deployment, rollout, rollouts

TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
GONE = Problem(Reason.MODEL_NOT_FOUND, "spec.model.name: there is no RegisteredModel churn")
CRASH = Diagnosis(Reason.CANDIDATE_FAILED, "pod web-1: DigestMismatch: expected sha256:1")


def seen(
    wanted: ServedModel | Problem,
    serve: str,
    *present: Rollout,
    diagnosis: Diagnosis | None = None,
    refused: str | None = None,
) -> Observation:
    keep = frozenset(each.revision for each in present)
    return Observation(wanted, Plan(serve, keep, frozenset()), rollouts(*present), diagnosis, refused)


@pytest.mark.parametrize(
    ("observed", "phase", "ready", "reason", "serving", "extra"),
    [
        pytest.param(
            seen(V1, V1.revision, rollout(V1)), Phase.SERVING, TRUE, Reason.SERVING, TRUE, None, id="as wanted"
        ),
        pytest.param(
            seen(V1, NOTHING, rollout(V1, settled=False, ready=0)),
            Phase.PROGRESSING, FALSE, Reason.ROLLING_OUT, FALSE, ConditionType.RECONCILING,
            id="the first version starts",
        ),
        pytest.param(
            seen(V2, V1.revision, rollout(V1), rollout(V2, settled=False, ready=1)),
            Phase.PROGRESSING, FALSE, Reason.ROLLING_OUT, TRUE, ConditionType.RECONCILING,
            id="the next version starts while the one before answers",
        ),
        pytest.param(
            seen(V2, V1.revision, rollout(V1), rollout(V2, settled=False, ready=0), diagnosis=CRASH),
            Phase.DEGRADED, FALSE, Reason.CANDIDATE_FAILED, TRUE, ConditionType.STALLED,
            id="the next version crashes: not ready, still serving",
        ),
        pytest.param(
            seen(V1, V1.revision, rollout(V1, settled=False, ready=1)),
            Phase.PROGRESSING, FALSE, Reason.TOO_FEW_READY_PODS, TRUE, ConditionType.RECONCILING,
            id="a pod is lost",
        ),
        pytest.param(
            seen(V1, V1.revision, rollout(V1, settled=False, ready=0)),
            Phase.DEGRADED, FALSE, Reason.NO_READY_PODS, FALSE, None,
            id="all pods are lost",
        ),
        pytest.param(
            seen(V1, V1.revision, rollout(V1, ready=0, desired=0)),
            Phase.SERVING, TRUE, Reason.SCALED_TO_ZERO, FALSE, None,
            id="nothing answers, as asked",
        ),
        pytest.param(seen(GONE, NOTHING), Phase.PENDING, FALSE, Reason.MODEL_NOT_FOUND, FALSE, None, id="no model"),
        pytest.param(
            seen(GONE, V1.revision, rollout(V1)),
            Phase.DEGRADED, FALSE, Reason.MODEL_NOT_FOUND, TRUE, None,
            id="the model is gone, what was served is served",
        ),
        pytest.param(
            seen(V1, V1.revision, rollout(V1), refused="Ingress web: host taken"),
            Phase.DEGRADED, FALSE, Reason.OBJECT_REFUSED, TRUE, ConditionType.STALLED,
            id="the API server refuses an object",
        ),
    ],
)  # fmt: skip
def test_status(  # noqa: PLR0917 - a table
    observed: Observation,
    phase: Phase,
    ready: ConditionStatus,
    reason: Reason,
    serving: ConditionStatus,
    extra: ConditionType | None,
) -> None:
    result = status(deployment(), observed, NOW)
    found = {condition.type: condition for condition in result.conditions}
    assert result.phase == phase
    assert (found["Ready"].status, found["Ready"].reason) == (ready, reason)
    assert found["Serving"].status == serving
    assert set(found) == {"Ready", "Serving"} | ({extra} if extra else set())
    assert {condition.observed_generation for condition in result.conditions} == {4}


def test_the_message_of_a_failing_candidate_says_why_and_what_is_served_meanwhile() -> None:
    observed = seen(V2, V1.revision, rollout(V1), rollout(V2, settled=False, ready=0), diagnosis=CRASH)
    result = status(deployment(), observed, NOW)
    assert result.conditions[0].message == (
        "version 2: pod web-1: DigestMismatch: expected sha256:1; version 1 stays served"
    )
    assert result.served is not None
    assert result.candidate is not None
    assert (result.served.version, result.candidate.version) == (1, 2)


def test_an_unchanged_situation_gives_an_equal_status_later() -> None:
    observed = seen(V1, V1.revision, rollout(V1))
    first = status(deployment(), observed, NOW)
    again = deployment(**first.to_dict())
    assert status(again, observed, NOW + timedelta(hours=1)) == again.status == first


def test_since_is_when_this_version_began_to_be_served() -> None:
    first = status(deployment(), seen(V1, V1.revision, rollout(V1)), NOW)
    then = status(
        deployment(**first.to_dict()), seen(V2, V2.revision, rollout(V1), rollout(V2)), NOW + timedelta(hours=1)
    )
    assert first.served is not None
    assert then.served is not None
    assert (first.served.since, then.served.since) == ("2026-01-15T12:00:00Z", "2026-01-15T13:00:00Z")
