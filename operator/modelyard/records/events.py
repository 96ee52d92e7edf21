"""The events of a model's log, as JSON: the source of which `status` is a view.

    <prefix>/registry/<namespace>/<object>/log/<sequence, 8 digits>.json

Each is written once, under the next sequence, and names the SHA-256 of the record before it: a record that is changed,
removed or put in later breaks the chain. What holds is the fold of the events, so it can be worked out again after a
crash between any two writes, and for an object that was deleted and created again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from modelyard.api.gates import GateResult
from modelyard.api.model_status import PreparationStatus, StageStatus
from modelyard.api.stages import Stage

SCHEMA_VERSION = 1


class Record(BaseModel):
    """Base of what is stored: a field that a newer release wrote is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        """Return the record as it is stored."""
        return (self.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n").encode()


class FileRecord(Record):
    """One file of a version; `etag` is what the store called its content when it was hashed."""

    path: str
    sha256: str
    size: int
    etag: str = ""


class MoveRecord(Record):
    """One version's change of stage, the field manager that asked for it, and the user where admission names one."""

    version: int
    from_: Annotated[Stage, Field(alias="from")]
    to: Stage
    by: str
    user: str | None = None


class StageGates(Record):
    """The gates that a version passed, or failed, on its way to a stage (a key of `spec.stages`)."""

    stage: str
    version: int
    gates: tuple[GateResult, ...]


class EventBase(Record):
    """What all events have. `id` tells two writers of the same sequence apart; the log sets what is left out here."""

    schema_version: int = SCHEMA_VERSION
    id: str = ""
    sequence: int = 0
    previous: str = ""
    at: str = ""
    by: str = ""
    user: str | None = None
    revision: str | None = None


class VersionRegistered(EventBase):
    """A version was registered; its number was free."""

    type: Literal["VersionRegistered"] = "VersionRegistered"
    model: str
    version: int
    source: str
    artifact: str
    digest: str
    files: tuple[FileRecord, ...] = ()
    flavors: tuple[str, ...] = ()
    run_id: str | None = None
    run_link: str | None = None
    model_id: str | None = None
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, str] = Field(default_factory=dict)
    idempotency_key: str | None = None


class VersionEdited(EventBase):
    """A version's description and tags, whole, as they are from now on."""

    type: Literal["VersionEdited"] = "VersionEdited"
    version: int
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class VersionDeleted(EventBase):
    """A version is no longer shown. Its number stays taken, its record and files stay."""

    type: Literal["VersionDeleted"] = "VersionDeleted"
    version: int


class VersionPrepared(EventBase):
    """What came of preparing the version with this digest for serving; it replaces what was known before."""

    type: Literal["VersionPrepared"] = "VersionPrepared"
    version: int
    digest: str
    preparation: PreparationStatus


class StagesChanged(EventBase):
    """One change of stages: all versions that move in it move at once. `stages` is what holds after it."""

    type: Literal["StagesChanged"] = "StagesChanged"
    stages: dict[str, StageStatus]
    moves: tuple[MoveRecord, ...]
    gates: tuple[StageGates, ...] = ()


class PromotionRefused(EventBase):
    """A version failed the gates of a stage. It is judged again when the fingerprint is another one."""

    type: Literal["PromotionRefused"] = "PromotionRefused"
    stage: str
    version: int
    fingerprint: str
    gates: tuple[GateResult, ...]


class ModelEdited(EventBase):
    """The model's description, tags and aliases, whole, as the spec has them from now on."""

    type: Literal["ModelEdited"] = "ModelEdited"
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    aliases: dict[str, int] = Field(default_factory=dict)


class PurgeStep(StrEnum):
    """How far retention is with a version's files; `Kept` where somebody asked for the version before they went."""

    DELETING = "Deleting"
    DELETED = "Deleted"
    KEPT = "Kept"


class VersionsPurged(EventBase):
    """Retention deletes the files of versions: the intent is recorded first, what came of it afterwards."""

    type: Literal["VersionsPurged"] = "VersionsPurged"
    versions: tuple[int, ...]
    step: PurgeStep


class ModelDeleted(EventBase):
    """The model was deleted through MLflow; `uid` is its object's. Its next object begins without versions."""

    type: Literal["ModelDeleted"] = "ModelDeleted"
    uid: str


class ModelRenamed(EventBase):
    """The model goes on under another name: `to` in MLflow, another object and another log. `uid` is this object's."""

    type: Literal["ModelRenamed"] = "ModelRenamed"
    to: str
    uid: str


class ModelContinued(EventBase):
    """The model came from another log, of which `digest` is the last record; `state` is what that log folds to."""

    type: Literal["ModelContinued"] = "ModelContinued"
    from_object: str
    from_sequence: int
    digest: str
    state: dict[str, Any]


Event = (
    VersionRegistered
    | VersionEdited
    | VersionDeleted
    | VersionPrepared
    | StagesChanged
    | PromotionRefused
    | ModelEdited
    | VersionsPurged
    | ModelDeleted
    | ModelRenamed
    | ModelContinued
)

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


@dataclass(frozen=True)
class Sealed:
    """An event as it is stored: `digest` is `sha256:<hex>` of the record's bytes, which the next event names."""

    event: Event
    digest: str

    @classmethod
    def of(cls, data: bytes) -> Sealed:
        """Read a record. Raises `pydantic.ValidationError` where it is none."""
        return cls(_EVENT.validate_json(data), digest_of(data))


def digest_of(data: bytes) -> str:
    """Return `sha256:<hex>` of a record's bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
