"""CloudEvents 1.0 in JSON: what a receiver is told of a change of stages or a refusal. Pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and its formats/json-format.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import Stage
from modelyard.records.events import Event, PromotionRefused, Sealed, StagesChanged

CONTENT_TYPE = "application/cloudevents+json"
"""The content type of HTTP's structured mode: the body is the whole event."""

STAGES_CHANGED = "dev.modelyard.registeredmodel.stages-changed.v1"
"""Versions have moved: `data.stages` is what holds now, `data.moves` who moved, `data.gates` what they passed."""

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


def event_for(model: RegisteredModel, sealed: Sealed) -> CloudEvent | None:
    """Return the event for a record of the model's log, None for a record that receivers are not told of.

    Its id is `<namespace>/<object>/<sequence>`: a receiver that sees one twice knows it by that.
    """
    event = sealed.event
    if isinstance(event, StagesChanged):
        type_, version = STAGES_CHANGED, _entered(event)
        data = _json(event, {"stages", "moves", "gates"})
    elif isinstance(event, PromotionRefused):
        type_, version = PROMOTION_REFUSED, event.version
        data = _json(event, {"stage", "version", "gates"})
    else:
        return None
    namespace, name = model.metadata.namespace, model.metadata.name
    about = {"namespace": namespace, "object": name, "model": model.model_name, "digest": sealed.digest}
    return CloudEvent(
        id=f"{namespace}/{name}/{event.sequence}",
        source=f"/namespaces/{namespace}/registeredmodels/{name}",
        type=type_,
        time=event.at,
        subject=f"versions/{version}" if version else None,
        data={**about, **_json(event, {"sequence", "by", "user", "revision"}), **data},
    )


def _entered(event: StagesChanged) -> int | None:
    """Return the version that the change is about: the one that entered a stage, else the one that left."""
    entered = [move.version for move in event.moves if move.to in (Stage.PRODUCTION, Stage.STAGING)]
    return next(iter([*entered, *(move.version for move in event.moves)]), None)


def _json(event: Event, fields: set[str]) -> dict[str, Any]:
    return event.model_dump(by_alias=True, mode="json", exclude_none=True, include=fields)
