"""What the artifact store keeps of a model, as JSON: the source of which `status` is the projection.

    <prefix>/registry/<namespace>/<object name>/versions/<number, 8 digits>.json       written once
    <prefix>/registry/<namespace>/<object name>/transitions/<sequence, 8 digits>.json  written once
    <prefix>/registry/<namespace>/<object name>/metadata/<number, 8 digits>.json       description and tags, replaced

Numbers and sequences count from 1 without a gap. A state is the fold of these records, so it can be worked out again
after a crash between any two writes, and for an object that was deleted and created again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from modelyard.api.registeredmodel import RegisteredModelStatus, Stage, StageStatus, TransitionStatus, VersionStatus
from modelyard.artifacts.manifest import FileEntry, Manifest

SCHEMA_VERSION = 1
_TRANSITIONS_SHOWN = 20


class Record(BaseModel):
    """Base of the records: a field that a newer release wrote is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Return the record as it is stored."""
        return (self.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n").encode()


class FileRecord(Record):
    """One file of a version; `etag` is what the store called its content when it was hashed."""

    path: str
    sha256: str
    size: int
    etag: str = ""


class VersionRecord(Record):
    """One version, as it was registered. `id` tells two writers of the same number apart."""

    id: str
    model: str
    version: int
    source: str
    artifact: str
    digest: str
    files: tuple[FileRecord, ...]
    flavors: tuple[str, ...] = ()
    run_id: str | None = None
    run_link: str | None = None
    model_id: str | None = None
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    idempotency_key: str | None = None
    created_at: str
    created_by: str

    @property
    def manifest(self) -> Manifest:
        """The files that were registered."""
        return Manifest.of(FileEntry(file.path, file.sha256, file.size, file.etag) for file in self.files)


class MoveRecord(Record):
    """One version's change of stage."""

    version: int
    from_: Annotated[Stage, Field(alias="from")]
    to: Stage
    by: str


class TransitionRecord(Record):
    """One change of stages: all versions that move in it move at once. `stages` is what holds after it."""

    id: str
    sequence: int
    at: str
    stages: dict[str, StageStatus]
    moves: tuple[MoveRecord, ...]


class MetadataRecord(Record):
    """What can be edited of a version."""

    version: int
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    updated_at: str


def fold(
    status: RegisteredModelStatus,
    versions: Sequence[VersionRecord] = (),
    transitions: Sequence[TransitionRecord] = (),
    metadata: Sequence[MetadataRecord] = (),
) -> RegisteredModelStatus:
    """Return `status` with the records taken in, oldest first; one that it has already changes nothing."""
    if not (versions or transitions or metadata):
        return status
    known = {version.version: version for version in status.versions}
    for record in versions:
        known.setdefault(record.version, _version_status(record))
    stages, sequence, shown = status.stages, status.transitions_recorded, list(reversed(status.transitions))
    for transition in transitions:
        if transition.sequence <= sequence:
            continue
        stages, sequence = transition.stages, transition.sequence
        for move in transition.moves:
            shown.append(_transition_status(transition, move))
            if move.version in known:
                known[move.version] = known[move.version].model_copy(
                    update={"stage": move.to, "updated_at": transition.at}
                )
    for edited in metadata:
        if edited.version in known:
            known[edited.version] = _with_metadata(known[edited.version], edited)
    return status.model_copy(
        update={
            "latest_version": max(status.latest_version, max(known, default=0)),
            "versions": tuple(known[number] for number in sorted(known)),
            "stages": stages,
            "transitions_recorded": sequence,
            "transitions": tuple(reversed(shown[-_TRANSITIONS_SHOWN:])),
        }
    )


def _version_status(record: VersionRecord) -> VersionStatus:
    return VersionStatus(
        version=record.version,
        source=record.source,
        artifact=record.artifact,
        digest=record.digest,
        run_id=record.run_id,
        run_link=record.run_link,
        model_id=record.model_id,
        flavors=record.flavors,
        created_at=record.created_at,
        created_by=record.created_by,
        idempotency_key=record.idempotency_key,
        description=record.description,
        tags=record.tags,
    )


def _transition_status(transition: TransitionRecord, move: MoveRecord) -> TransitionStatus:
    return TransitionStatus(
        sequence=transition.sequence,
        version=move.version,
        from_=move.from_,
        to=move.to,
        at=transition.at,
        by=move.by,
    )


def _with_metadata(version: VersionStatus, edited: MetadataRecord) -> VersionStatus:
    latest = max(version.updated_at or "", edited.updated_at)
    return version.model_copy(
        update={"description": edited.description, "tags": edited.tags, "updated_at": latest},
    )
