"""Conditions: one verdict becomes the conditions that people, kstatus, Flux and Argo CD read.

kstatus: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.reasons import ConditionType, Reason

_MESSAGE_LIMIT = 4096


@dataclass(frozen=True)
class Verdict:
    """How one condition stands. `message` names the field and the fix where there is something to fix."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""


def timestamp(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC, with whole seconds, as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def conditions(
    previous: Iterable[Condition],
    verdicts: Iterable[Verdict],
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions for `verdicts`, in their order; a type without a verdict goes.

    `lastTransitionTime` moves only when `status` does, so an unchanged verdict gives equal conditions.
    """
    before = {condition.type: condition for condition in previous}
    result = []
    for verdict in verdicts:
        old = before.get(verdict.type)
        unchanged = old is not None and old.status == verdict.status
        result.append(
            Condition(
                type=verdict.type,
                status=verdict.status,
                reason=verdict.reason,
                message=verdict.message[:_MESSAGE_LIMIT],
                last_transition_time=old.last_transition_time if old and unchanged else timestamp(now),
                observed_generation=generation,
            )
        )
    return tuple(result)


def kstatus(verdict: Verdict, *, progressing: bool, stalled: bool) -> tuple[Verdict, ...]:
    """Return `verdict`, with `Reconciling` beside it while work goes on, or `Stalled` when it waits for a person."""
    extra = []
    if progressing:
        extra.append(
            Verdict(
                ConditionType.RECONCILING,
                ConditionStatus.TRUE,
                verdict.reason,
                verdict.message,
            )
        )
    if stalled:
        extra.append(
            Verdict(
                ConditionType.STALLED,
                ConditionStatus.TRUE,
                verdict.reason,
                verdict.message,
            )
        )
    return (verdict, *extra)
