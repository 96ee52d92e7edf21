"""What a log says: who moved what, when and why; and what was the case at a moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard.api.gates import GateResult
from modelyard.records.events import (
    Event,
    ModelContinued,
    ModelRenamed,
    PromotionRefused,
    PurgeStep,
    Sealed,
    StagesChanged,
    VersionDeleted,
    VersionEdited,
    VersionPrepared,
    VersionRegistered,
    VersionsPurged,
)
from modelyard.records.fold import fold
from modelyard.records.state import ModelState

Json = dict[str, Any]

_PURGED = {
    PurgeStep.DELETING: "files to be deleted",
    PurgeStep.DELETED: "files deleted",
    PurgeStep.KEPT: "files kept after all",
}
_SAID = {
    "VersionRegistered": "registered",
    "VersionEdited": "description or tags edited",
    "VersionDeleted": "deleted",
    "ModelEdited": "the model's description, tags or aliases edited",
    "ModelDeleted": "the model deleted",
}


@dataclass(frozen=True)
class Row:
    """One line of a history: a version's move, a refusal, or something else that happened.

    `gates` are those of this version and stage; `happened` says it in words.
    """

    event: Event
    happened: str
    version: int | None = None
    from_: str = ""
    to: str = ""
    by: str = ""
    user: str = ""
    gates: tuple[GateResult, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """Which events a person asked for; by default every transition and refusal."""

    since: datetime | None = None
    version: int | None = None
    everything: bool = False

    def includes(self, row: Row) -> bool:
        """Whether the row is one of them."""
        if self.version is not None and row.version != self.version:
            return False
        if self.since is not None and parse_time(row.event.at) < self.since:
            return False
        return self.everything or isinstance(row.event, StagesChanged | PromotionRefused)


def parse_time(text: str) -> datetime:
    """Read RFC 3339, seconds and zone optional (then UTC), or a date. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def rows(events: Iterable[Sealed]) -> list[Row]:
    """Return the lines of a history, oldest first; one for each version that moved."""
    return [row for sealed in events for row in _rows_of(sealed.event)]


def _rows_of(event: Event) -> list[Row]:
    by, user = event.by, event.user or ""
    if isinstance(event, StagesChanged):
        gates = {(each.version, each.stage): each.gates for each in event.gates}
        return [
            Row(
                event,
                "moved",
                move.version,
                move.from_,
                move.to,
                move.by or by,
                move.user or user,
                gates.get((move.version, move.to.lower()), ()),
            )
            for move in event.moves
        ] or [Row(event, "stages changed", by=by, user=user)]
    if isinstance(event, PromotionRefused):
        return [Row(event, "refused", event.version, "", event.stage.capitalize(), by, user, event.gates)]
    if isinstance(event, VersionsPurged):
        return [Row(event, _PURGED[event.step], number, by=by, user=user) for number in event.versions]
    of_version = VersionRegistered | VersionEdited | VersionDeleted | VersionPrepared
    version = event.version if isinstance(event, of_version) else None
    return [Row(event, _said(event), version, by=by, user=user)]


def _said(event: Event) -> str:
    if isinstance(event, ModelRenamed):
        return f"renamed to {event.to}"
    if isinstance(event, ModelContinued):
        return f"continued from {event.from_object}, record {event.from_sequence}"
    if isinstance(event, VersionPrepared):
        done = event.preparation
        return f"prepared for serving: {done.outcome}" + (f": {done.message}" if done.message else "")
    return _SAID.get(event.type, event.type)


def state_at(events: Sequence[Sealed], moment: datetime) -> ModelState:
    """Return what was the case at `moment`, by the events up to the last one that is not later."""
    upto = max((index + 1 for index, sealed in enumerate(events) if parse_time(sealed.event.at) <= moment), default=0)
    return fold(ModelState(), events[:upto])


def entered(events: Sequence[Sealed], key: str, version: int, since: str) -> StagesChanged | None:
    """Return the change by which `version` came into the stage `key` (`production`, `staging`) at `since`."""
    for sealed in events:
        if isinstance(sealed.event, StagesChanged):
            held = sealed.event.stages.get(key)
            if held is not None and (held.version, held.since) == (version, since):
                return sealed.event
    return None


def event_json(event: Event) -> Json:
    """Return an event for a program: the record without the list of files."""
    return event.model_dump(by_alias=True, mode="json", exclude_none=True, exclude={"files", "state"})
