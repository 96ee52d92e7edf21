"""From when on a webhook gets events, and how long a receiver that fails is left alone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.decide.registeredmodel import precise_timestamp

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0


def retry_pause(attempts: int, retry_after: float | None = None) -> float:
    """Return after how many seconds to try again, after `attempts` in vain; longer where the receiver asks for it."""
    # The exponent is bounded, for a receiver that has been gone for a year.
    pause = FIRST_PAUSE_SECONDS * 2.0 ** min(attempts - 1, 20)
    return min(max(pause, retry_after or 0.0), LONGEST_PAUSE_SECONDS)


def present_since(model: RegisteredModel, webhook: str) -> str:
    """Return since when `spec.webhooks` has had the webhook, as far as the object tells: RFC 3339, milliseconds.

    That is when the first of those who own the field wrote last. It is known as long as nobody else has edited, so it
    is asked when a webhook is seen for the first time, and says what an operator missed that was down by then.
    """
    times = [
        str(entry["time"])
        for entry in model.metadata.managed_fields
        if entry.get("time") and not entry.get("subresource") and _owns(entry, webhook)
    ]
    first = min(times, default=model.metadata.creation_timestamp or "9999-12-31T23:59:59Z")
    return precise_timestamp(datetime.fromisoformat(first))


def _owns(entry: dict[str, Any], webhook: str) -> bool:
    fields = entry.get("fieldsV1") or {}
    webhooks = fields.get("f:spec", {}).get("f:webhooks")
    if webhooks is None:
        return False
    # A list without keys is owned as a whole.
    return not webhooks or f"k:{json.dumps({'name': webhook}, separators=(',', ':'))}" in webhooks
