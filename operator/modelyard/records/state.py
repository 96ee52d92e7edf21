"""What the log of a model folds to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelyard.api.gates import GateResult
from modelyard.api.model_status import StageStatus, TransitionStatus, VersionStatus
from modelyard.api.stages import Stage
from modelyard.records.events import PurgeStep, Record


class VersionState(VersionStatus):
    """One version with everything that is known of it but the list of its files."""

    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, str] = Field(default_factory=dict)
    idempotency_key: str | None = None
    record: Annotated[str, Field(description="The key of the record that registered it.")] = ""
    been_in: tuple[Stage, ...] = ()
    archived_at: str | None = None
    prepared_in: Annotated[
        tuple[str, ...], Field(description="Keys below which something was made for serving it, now or before.")
    ] = ()
    deleted: bool = False
    purge: PurgeStep | None = None


class Refusal(Record):
    """The newest refusal of a stage."""

    version: int
    fingerprint: str
    at: str
    gates: tuple[GateResult, ...]


class Ended(Record):
    """The model was deleted or renamed while it was in the object with this uid."""

    uid: str
    renamed_to: str | None = None


class ModelState(Record):
    """What holds after the record `sequence`, whose digest is `digest`. Immutable."""

    sequence: int = 0
    digest: str = ""
    latest_version: int = 0
    versions: dict[int, VersionState] = Field(default_factory=dict)
    stages: dict[str, StageStatus] = Field(default_factory=dict)
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    aliases: dict[str, int] = Field(default_factory=dict)
    created_at: Annotated[str | None, Field(description="When, where that was in another object.")] = None
    updated_at: Annotated[
        str | None, Field(description="MLflow's: of the description, of which versions there are, and of their stages.")
    ] = None
    transitions: tuple[TransitionStatus, ...] = ()
    refusals: dict[str, Refusal] = Field(default_factory=dict)
    ended: Ended | None = None
    continued_from: Annotated[
        str, Field(description="The digest of the last record of the log it was renamed from.")
    ] = ""

    def find(self, number: int) -> VersionState | None:
        """Return the version with that number, or None where there is none or it was deleted."""
        version = self.versions.get(number)
        return None if version is None or version.deleted else version

    @property
    def shown(self) -> list[VersionState]:
        """The versions that were not deleted, by number."""
        return [version for _, version in sorted(self.versions.items()) if not version.deleted]

    def registered_under(self, key: str | None) -> VersionState | None:
        """Return the version that was registered under the key, deleted or not."""
        if key is None:
            return None
        return next((version for version in self.versions.values() if version.idempotency_key == key), None)

    def has_ended(self, uid: str) -> bool:
        """Whether the model in the object with this uid was deleted or renamed."""
        return self.ended is not None and self.ended.uid == uid
