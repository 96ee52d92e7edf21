"""From when on a webhook gets events, and how long a receiver that fails is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.decide.webhooks import present_since, retry_pause


@pytest.mark.parametrize(
    ("attempts", "retry_after", "pause"),
    [
        (1, None, 1),
        (2, None, 2),
        (9, None, 256),
        (10, None, 300),
        (100_000, None, 300),
        (1, 30.0, 30),
        (8, 30.0, 128),
        (1, 3600.0, 300),
    ],
)
def test_pauses_grow_up_to_five_minutes(attempts: int, retry_after: float | None, pause: float) -> None:
    assert retry_pause(attempts, retry_after) == pause


def managed(time: str, fields: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"manager": "m", "time": time, "fieldsV1": fields, **rest}


CI: dict[str, Any] = {"f:spec": {"f:webhooks": {'k:{"name":"ci"}': {"f:url": {}}}}}
OTHER: dict[str, Any] = {"f:spec": {"f:webhooks": {'k:{"name":"other"}': {"f:url": {}}}}}
WHOLE: dict[str, Any] = {"f:spec": {"f:webhooks": {}}}
STAGES: dict[str, Any] = {"f:spec": {"f:stages": {"f:production": {}}}}


@pytest.mark.parametrize(
    ("entries", "since"),
    [
        ([managed("2026-05-02T00:00:00Z", CI)], "2026-05-02T00:00:00.000Z"),
        ([managed("2026-05-02T00:00:00Z", WHOLE)], "2026-05-02T00:00:00.000Z"),
        ([managed("2026-05-03T00:00:00Z", CI), managed("2026-05-02T00:00:00Z", CI)], "2026-05-02T00:00:00.000Z"),
        ([managed("2026-05-02T00:00:00Z", OTHER)], "2026-05-01T00:00:00.000Z"),
        ([managed("2026-05-02T00:00:00Z", STAGES)], "2026-05-01T00:00:00.000Z"),
        ([managed("2026-05-02T00:00:00Z", CI, subresource="status")], "2026-05-01T00:00:00.000Z"),
        ([], "2026-05-01T00:00:00.000Z"),
    ],
)
def test_a_webhook_is_there_since_its_first_owner_wrote_else_since_the_object_is(
    entries: list[dict[str, Any]], since: str
) -> None:
    metadata = {"namespace": "ml", "name": "churn", "creationTimestamp": "2026-05-01T00:00:00Z"}
    assert present_since(RegisteredModel.parse({"metadata": {**metadata, "managedFields": entries}}), "ci") == since
