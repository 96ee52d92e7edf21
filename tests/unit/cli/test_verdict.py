"""What has come of a promotion, by the object's status."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cli.verdict import Outcome, standing

AT = "2026-01-15T12:00:00.000Z"
SEEN = {"observedGeneration": 2}


def gate(name: str, verdict: str) -> dict[str, str]:
    return {"name": name, "verdict": verdict, "message": f"{name} says"}


def candidate(verdict: str, *gates: dict[str, str], version: int = 4) -> dict[str, Any]:
    shown = {"stage": "production", "version": version, "verdict": verdict, "since": AT, "gates": gates}
    return {**SEEN, "candidates": [shown]}


def condition(type_: str, status: str, message: str) -> dict[str, str]:
    return {"type": type_, "status": status, "reason": "Because", "message": message, "lastTransitionTime": AT}


def model(status: dict[str, Any], wanted: int | None = 4) -> RegisteredModel:
    spec = {"stages": {"production": wanted}} if wanted else {}
    metadata = {"namespace": "ml", "name": "churn", "generation": 2}
    return RegisteredModel.parse({"metadata": metadata, "spec": spec, "status": status})


PASSED, RUNNING, WAITING, FAILED = (
    gate("quality", "Passed"),
    gate("smoke", "Running"),
    gate("consent", "Waiting"),
    gate("quality", "Failed"),
)


@pytest.mark.parametrize(
    ("status", "outcome", "message"),
    [
        ({"observedGeneration": 1}, Outcome.PENDING, "waiting for the operator to see version 4 of churn in the spec"),
        (
            {"observedGeneration": 1, "stages": {"production": {"version": 4, "since": AT, "by": "x"}}},
            Outcome.PENDING,
            "waiting for the operator",
        ),
        (
            {**SEEN, "stages": {"production": {"version": 4, "since": AT, "by": "x"}}},
            Outcome.DONE,
            "version 4 of churn is in Production",
        ),
        (candidate("Refused", FAILED), Outcome.REFUSED, "version 4 of churn is refused in Production"),
        (
            candidate("Running", PASSED, RUNNING),
            Outcome.PENDING,
            "version 4 of churn for Production: 1 of 2 gates passed; running: smoke",
        ),
        (candidate("Waiting", PASSED, WAITING), Outcome.PENDING, "waiting for approval: consent"),
        (candidate("Refused", FAILED, version=3), Outcome.PENDING, "version 4 of churn is not in Production yet"),
        (
            {
                **SEEN,
                "conditions": [condition("Ready", "False", "version 4 is broken"), condition("Stalled", "True", "")],
            },
            Outcome.REFUSED,
            "version 4 of churn is not in Production: version 4 is broken",
        ),
        (
            {**SEEN, "conditions": [condition("Ready", "Unknown", "the store is away")]},
            Outcome.PENDING,
            "version 4 of churn is not in Production yet: the store is away",
        ),
    ],
)
def test_how_a_promotion_stands(status: dict[str, Any], outcome: Outcome, message: str) -> None:
    seen = standing(model(status), "production", 4, 2)
    assert seen.outcome is outcome
    assert message in seen.message


@pytest.mark.parametrize(("wanted", "said"), [(5, "asks for version 5"), (None, "asks for none")])
def test_a_wish_that_somebody_else_changed_is_refused(wanted: int | None, said: str) -> None:
    seen = standing(model(SEEN, wanted), "production", 4, 2)
    assert seen.outcome is Outcome.REFUSED
    assert said in seen.message


@pytest.mark.parametrize(
    ("gates", "waits"),
    [
        ((PASSED, WAITING), True),
        ((WAITING,), True),
        ((RUNNING, WAITING), False),
        ((FAILED, WAITING), False),
        ((), False),
    ],
)
def test_when_only_a_person_is_waited_for(gates: tuple[dict[str, str], ...], waits: bool) -> None:
    assert standing(model(candidate("Waiting", *gates)), "production", 4, 2).waits_for_approval is waits
