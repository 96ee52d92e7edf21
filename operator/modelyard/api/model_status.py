"""`status` of a RegisteredModel: a bounded view of the records in the artifact store, written by the registry alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelyard.api.common import Conditions, StatusModel, Timestamp, VersionNumber
from modelyard.api.gates import GATES_LIMIT, GateResult
from modelyard.api.stages import Stage


class PreparationOutcome(StrEnum):
    """What came of preparing a version for serving."""

    VERIFIED = "Verified"
    ANSWERS_DIFFER = "AnswersDiffer"
    NOT_CONVERTIBLE = "NotConvertible"
    ENVIRONMENT_FAILED = "EnvironmentFailed"
    PREPARATION_FAILED = "PreparationFailed"


Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class PreparationStatus(StatusModel):
    """What was made of a version for serving it. The objects are in the artifact store, and used by their hashes."""

    outcome: PreparationOutcome
    message: Annotated[str, Field(max_length=512)] = ""
    image: Annotated[str, Field(max_length=512, description="The serving image that it was made with and for.")]
    directory: Annotated[
        str, Field(max_length=1024, description="What it was written below: a key of the artifact store.")
    ]
    evidence: Annotated[Sha256 | None, Field(description="Of preparation.json, which says what was compared.")] = None
    model: Annotated[Sha256 | None, Field(description="Of model.onnx; only where it was Verified.")] = None
    environment: Annotated[
        Sha256 | None, Field(description="Of environment.tar.gz, where the image's libraries do not do.")
    ] = None
    attempt: Annotated[
        str, Field(max_length=64, description="Tells it from an earlier one that failed, and was asked for again.")
    ] = ""

    @property
    def evidence_name(self) -> str:
        """By what `kubectl modelyard evidence` finds the evidence."""
        return f"prepare-{self.directory.rpartition('/')[2]}.json"


class VersionStatus(StatusModel):
    """One registered version. Its content never changes; its stage may."""

    version: VersionNumber
    stage: Stage = Stage.NONE
    source: Annotated[
        str,
        Field(
            max_length=2048,
            description="Where the version was registered from, as it was given.",
        ),
    ]
    artifact: Annotated[
        str,
        Field(
            max_length=2048,
            description="The directory that holds its bytes, an s3:// URI.",
        ),
    ]
    digest: Annotated[
        str,
        Field(
            pattern=r"^sha256:[0-9a-f]{64}$",
            description="SHA-256 of the manifest of its files.",
        ),
    ]
    run_id: Annotated[str, Field(max_length=64)] | None = None
    run_link: Annotated[str, Field(max_length=2048)] | None = None
    model_id: (
        Annotated[str, Field(max_length=64, description="MLflow's logged model that the version came from.")] | None
    ) = None
    flavors: Annotated[tuple[str, ...], Field(max_length=32)] = ()
    created_at: Timestamp
    created_by: Annotated[str, Field(max_length=128, description="The field manager that registered it.")] = ""
    updated_at: Annotated[Timestamp | None, Field(description="When its stage or description changed last.")] = None
    preparation: PreparationStatus | None = None


User = Annotated[str, Field(max_length=253, description="The authenticated user, where admission gives it.")]


class StageStatus(StatusModel):
    """The version that is in a stage now."""

    version: VersionNumber
    since: Timestamp
    by: Annotated[
        str,
        Field(max_length=128, description="The field manager whose edit put it there."),
    ]
    user: User | None = None


class Verdict(StrEnum):
    """How the judging of a version stands."""

    ALLOWED = "Allowed"
    RUNNING = "Running"
    WAITING = "Waiting"
    UNKNOWN = "Unknown"
    REFUSED = "Refused"


class CandidateStatus(StatusModel):
    """A version that is wanted in a stage and is judged, or was refused."""

    stage: Annotated[str, Field(max_length=16)]
    version: VersionNumber
    verdict: Verdict
    since: Timestamp
    gates: Annotated[tuple[GateResult, ...], Field(max_length=GATES_LIMIT + 1)] = ()


class RecordsStatus(StatusModel):
    """The newest record of the log in the artifact store that the status takes in."""

    sequence: Annotated[int, Field(ge=0)] = 0
    digest: Annotated[str, Field(max_length=71, description="SHA-256 of the record, which the next one names.")] = ""


class InheritedStatus(StatusModel):
    """What an earlier object of this name had and this one's spec does not name. Naming it in spec replaces it."""

    stages: dict[str, VersionNumber] = Field(default_factory=dict)
    aliases: dict[str, VersionNumber] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    description: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not (self.stages or self.aliases or self.tags or self.description)


class WebhookStatus(StatusModel):
    """How far a webhook's receiver has followed."""

    name: Annotated[str, Field(max_length=63)]
    delivered: Annotated[int, Field(ge=0, description="The newest record that the receiver has taken.")] = 0
    attempts: Annotated[int, Field(ge=0, description="How often the next one was tried in vain.")] = 0
    last_error: Annotated[str, Field(max_length=1024)] | None = None
    last_attempt_at: Timestamp | None = None


class TransitionStatus(StatusModel):
    """One change of a version's stage."""

    sequence: Annotated[
        int,
        Field(ge=1, description="The record it is part of: a version and the one it replaces move in one record."),
    ]
    version: VersionNumber
    from_: Annotated[Stage, Field(alias="from")]
    to: Stage
    at: Timestamp
    by: Annotated[str, Field(max_length=128)]
    user: User | None = None
    revision: Annotated[str, Field(max_length=128, description="The Git revision, where it is known.")] | None = None
    gates: Annotated[str, Field(max_length=128, description="How many gates were passed.")] | None = None


class RegisteredModelStatus(StatusModel):
    """What is the case, written by the registry alone."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    latest_version: Annotated[int, Field(ge=0, description="A counter that never goes back.")] = 0
    stages: Annotated[dict[str, StageStatus], Field(max_length=2)] = Field(default_factory=dict)
    version_count: Annotated[int, Field(ge=0, description="How many versions there are.")] = 0
    inherited: InheritedStatus | None = None
    candidates: Annotated[
        tuple[CandidateStatus, ...],
        Field(
            max_length=2,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["stage"]},
        ),
    ] = ()
    versions: Annotated[
        tuple[VersionStatus, ...],
        Field(
            max_length=256,
            description="Those in a stage or under an alias, and the newest; all of them are in the artifact store.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["version"],
            },
        ),
    ] = ()
    records: RecordsStatus = RecordsStatus()
    transitions: Annotated[
        tuple[TransitionStatus, ...],
        Field(max_length=20, description="The newest, last first; all of them are in the artifact store."),
    ] = ()
    webhooks: Annotated[
        tuple[WebhookStatus, ...],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    conditions: Conditions = ()

    def find(self, version: int) -> VersionStatus | None:
        """Return the version with that number, or None."""
        return next((v for v in self.versions if v.version == version), None)
