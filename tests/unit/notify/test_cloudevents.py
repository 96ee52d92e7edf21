"""What a receiver is told, and of what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.api.gates import GateResult, GateVerdict
from modelyard.api.model_status import StageStatus
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import Stage
from modelyard.notify.cloudevents import event_for
from modelyard.records.events import (
    Event,
    ModelEdited,
    MoveRecord,
    PromotionRefused,
    PurgeStep,
    Sealed,
    StageGates,
    StagesChanged,
    VersionDeleted,
    VersionsPurged,
)

MODEL = RegisteredModel.parse(
    {"metadata": {"namespace": "ml", "name": "churn-0a1b2c3d"}, "spec": {"name": "Abwanderung Über"}}
)
AT = "2026-01-15T12:00:00.000Z"


def sent(event: Event) -> dict[str, Any] | None:
    made = event_for(MODEL, Sealed(event, "sha256:00"))
    return None if made is None else dict(json.loads(made.to_json()))


def changed(*moves: MoveRecord, **rest: Any) -> StagesChanged:
    stages = {"production": StageStatus(version=3, since=AT, by="argocd-controller")}
    return StagesChanged(sequence=7, at=AT, by="argocd-controller", stages=stages, moves=moves, **rest)


ENTERS = MoveRecord(version=3, from_=Stage.STAGING, to=Stage.PRODUCTION, by="argocd-controller", user="maria")
LEAVES = MoveRecord(version=2, from_=Stage.PRODUCTION, to=Stage.ARCHIVED, by="argocd-controller")


def test_a_change_of_stages_has_the_attributes_of_cloudevents_and_says_everything() -> None:
    passed = GateResult(name="quality", verdict=GateVerdict.PASSED, message="f1_score 0.91, at least 0.85")
    event = changed(
        LEAVES, ENTERS, revision="3f1c2ab", gates=(StageGates(stage="production", version=3, gates=(passed,)),)
    )
    assert sent(event) == {
        "specversion": "1.0",
        "id": "ml/churn-0a1b2c3d/7",
        "source": "/namespaces/ml/registeredmodels/churn-0a1b2c3d",
        "type": "dev.modelyard.registeredmodel.stages-changed.v1",
        "time": AT,
        "subject": "versions/3",
        "datacontenttype": "application/json",
        "data": {
            "namespace": "ml",
            "object": "churn-0a1b2c3d",
            "model": "Abwanderung Über",
            "sequence": 7,
            "digest": "sha256:00",
            "by": "argocd-controller",
            "revision": "3f1c2ab",
            "stages": {"production": {"version": 3, "since": AT, "by": "argocd-controller"}},
            "moves": [
                {"version": 2, "from": "Production", "to": "Archived", "by": "argocd-controller"},
                {"version": 3, "from": "Staging", "to": "Production", "by": "argocd-controller", "user": "maria"},
            ],
            "gates": [
                {
                    "stage": "production",
                    "version": 3,
                    "gates": [{"name": "quality", "verdict": "Passed", "message": "f1_score 0.91, at least 0.85"}],
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("moves", "subject"), [((LEAVES, ENTERS), "versions/3"), ((LEAVES,), "versions/2"), ((), None)]
)
def test_the_subject_is_the_version_that_enters_else_the_one_that_leaves(
    moves: tuple[MoveRecord, ...], subject: str | None
) -> None:
    event = sent(changed(*moves))
    assert event is not None
    assert event.get("subject") == subject


def test_a_refusal_names_the_gates_and_their_numbers() -> None:
    failed = GateResult(name="quality", verdict=GateVerdict.FAILED, message="f1_score 0.71, at least 0.85")
    refusal = PromotionRefused(
        sequence=8, at=AT, by="mlflow", stage="production", version=4, fingerprint="f", gates=(failed,)
    )
    event = sent(refusal)
    assert event is not None
    assert event["type"] == "dev.modelyard.registeredmodel.promotion-refused.v1"
    assert event["subject"] == "versions/4"
    assert (event["data"]["stage"], event["data"]["version"]) == ("production", 4)
    assert event["data"]["gates"] == [
        {"name": "quality", "verdict": "Failed", "message": "f1_score 0.71, at least 0.85"}
    ]
    assert "fingerprint" not in event["data"]


@pytest.mark.parametrize(
    "event", [VersionDeleted(version=1), ModelEdited(), VersionsPurged(versions=(1,), step=PurgeStep.DELETED)]
)
def test_of_anything_else_receivers_are_not_told(event: Event) -> None:
    assert sent(event) is None
