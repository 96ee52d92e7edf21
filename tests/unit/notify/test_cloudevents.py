"""What a receiver is told."""

from __future__ import annotations

import json
from typing import Any

from modelyard.notify.cloudevents import STAGES_CHANGED, model_event


def event(**changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "namespace": "ml",
        "name": "churn",
        "sequence": 7,
        "type_": STAGES_CHANGED,
        "time": "2026-01-15T12:00:00.000Z",
        "version": 3,
        "data": {"model": "Abwanderung Über"},
    }
    made = model_event(**{**given, **changed})
    assert made.to_json() == made.to_json()
    return dict(json.loads(made.to_json()))


def test_an_event_has_the_attributes_of_cloudevents() -> None:
    assert event() == {
        "specversion": "1.0",
        "id": "ml/churn/7",
        "source": "/namespaces/ml/registeredmodels/churn",
        "type": "dev.modelyard.registeredmodel.stages-changed.v1",
        "time": "2026-01-15T12:00:00.000Z",
        "subject": "versions/3",
        "datacontenttype": "application/json",
        "data": {"model": "Abwanderung Über"},
    }


def test_an_event_about_no_one_version_has_no_subject() -> None:
    assert "subject" not in event(version=None)
