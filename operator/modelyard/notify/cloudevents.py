"""CloudEvents 1.0 in JSON: what a receiver is told of a change of stages or a refusal. Pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and its formats/json-format.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CONTENT_TYPE = "application/cloudevents+json"
"""The content type of HTTP's structured mode: the body is the whole event."""

STAGES_CHANGED = "dev.modelyard.registeredmodel.stages-changed.v1"
"""Versions have moved: `data.stages` is what holds now, `data.moves` who moved."""

PROMOTION_REFUSED = "dev.modelyard.registeredmodel.promotion-refused.v1"
"""A version that somebody asked for has failed a gate: `data.stage`, `data.version`, `data.gates`."""


@dataclass(frozen=True, kw_only=True)
class CloudEvent:
    """One event. `time` is RFC 3339; `subject` names the version that it is about (`versions/3`)."""

    id: str
    source: str
    type: str
    time: str
    subject: str | None
    data: dict[str, Any]

    def to_json(self) -> bytes:
        """Return the event in the JSON format, the same bytes every time."""
        attributes = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time,
            "datacontenttype": "application/json",
            **({"subject": self.subject} if self.subject else {}),
        }
        event = {**attributes, "data": self.data}
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def model_event(
    *,
    namespace: str,
    name: str,
    sequence: int,
    type_: str,
    time: str,
    version: int | None,
    data: dict[str, Any],
) -> CloudEvent:
    """Return the event for one record of the RegisteredModel `name`.

    Its id is `<namespace>/<name>/<sequence>`: a receiver that sees one twice knows it by that.
    """
    return CloudEvent(
        id=f"{namespace}/{name}/{sequence}",
        source=f"/namespaces/{namespace}/registeredmodels/{name}",
        type=type_,
        time=time,
        subject=None if version is None else f"versions/{version}",
        data=data,
    )
