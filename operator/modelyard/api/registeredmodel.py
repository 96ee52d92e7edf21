"""`RegisteredModel`: a model, its versions, and which version is in which stage."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from modelyard.api.common import (
    ApiModel,
    Conditions,
    Resource,
    StatusModel,
    Timestamp,
    VersionNumber,
    rules,
)
from modelyard.api.names import object_name


class Stage(StrEnum):
    """MLflow's model stages, spelt as MLflow spells them."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


ASSIGNABLE = {"staging": Stage.STAGING, "production": Stage.PRODUCTION}
"""The keys of `spec.stages` and the stages that they name."""


TAG_LIMIT = 64
TAG_VALUE_LIMIT = 5000
DESCRIPTION_LIMIT = 8192

Tags = Annotated[dict[str, Annotated[str, Field(max_length=TAG_VALUE_LIMIT)]], Field(max_length=TAG_LIMIT)]
_TAG_KEYS = ("self.all(key, size(key) >= 1 && size(key) <= 250)", "a tag's key has 1 to 250 characters")


class RegisteredModelSpec(ApiModel):
    """What the users want of a model. The operator never writes it."""

    name: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=256,
                description="The model's name in MLflow, where it differs from the object's. It cannot be changed.",
                json_schema_extra=rules(
                    (
                        "self == oldSelf",
                        "spec.name cannot be changed: create another RegisteredModel",
                    )
                ),
            ),
        ]
        | None
    ) = None
    description: (
        Annotated[
            str,
            Field(max_length=DESCRIPTION_LIMIT, description="MLflow's description of the model."),
        ]
        | None
    ) = None
    stages: Annotated[
        dict[str, VersionNumber],
        Field(
            max_length=2,
            description="The version wanted in each stage. Changing a number is a promotion.",
            json_schema_extra=rules(
                (
                    "self.all(stage, stage in ['staging', 'production'])",
                    "unknown stage: spec.stages takes staging and production",
                )
            ),
        ),
    ] = Field(default_factory=dict)
    aliases: Annotated[
        dict[str, VersionNumber],
        Field(
            max_length=32,
            description="Names for versions, for `models:/<model>@<alias>`.",
            json_schema_extra=rules(
                (
                    "self.all(alias, alias.matches('^[A-Za-z0-9_-]{1,63}$'))",
                    "an alias is 1 to 63 letters, digits, hyphens and underscores",
                ),
                (
                    "self.all(alias, alias != 'latest' && !alias.matches('^v[0-9]+$'))",
                    "an alias must not be 'latest' or look like a version (v1)",
                ),
            ),
        ),
    ] = Field(default_factory=dict)
    tags: Annotated[
        Tags,
        Field(description="MLflow's tags of the model.", json_schema_extra=rules(_TAG_KEYS)),
    ] = Field(default_factory=dict)


class VersionStatus(StatusModel):
    """One registered version. Its content never changes; stage, description and tags may."""

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
    updated_at: Annotated[Timestamp | None, Field(description="When its stage, description or tags changed last.")] = (
        None
    )
    idempotency_key: (
        Annotated[
            str,
            Field(max_length=253, description="Registering again under the same key gives this version again."),
        ]
        | None
    ) = None
    description: Annotated[str, Field(max_length=DESCRIPTION_LIMIT)] | None = None
    tags: Tags = Field(default_factory=dict)


class StageStatus(StatusModel):
    """The version that is in a stage now."""

    version: VersionNumber
    since: Timestamp
    by: Annotated[
        str,
        Field(max_length=128, description="The field manager whose edit put it there."),
    ]


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


class RegisteredModelStatus(StatusModel):
    """What is the case, written by the registry alone."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    latest_version: Annotated[int, Field(ge=0, description="A counter that never goes back.")] = 0
    stages: Annotated[dict[str, StageStatus], Field(max_length=2)] = Field(default_factory=dict)
    versions: Annotated[
        tuple[VersionStatus, ...],
        Field(
            max_length=10000,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["version"],
            },
        ),
    ] = ()
    transitions_recorded: Annotated[int, Field(ge=0, description="How many there are in the artifact store.")] = 0
    transitions: Annotated[
        tuple[TransitionStatus, ...],
        Field(max_length=20, description="The newest, last first."),
    ] = ()
    conditions: Conditions = ()

    def find(self, version: int) -> VersionStatus | None:
        """Return the version with that number, or None."""
        return next((v for v in self.versions if v.version == version), None)


class RegisteredModel(Resource):
    """A model of MLflow's registry, as a Kubernetes object."""

    kind_name: ClassVar[str] = "RegisteredModel"
    plural: ClassVar[str] = "registeredmodels"
    singular: ClassVar[str] = "registeredmodel"
    short_names: ClassVar[tuple[str, ...]] = ("rm",)
    printer_columns: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Latest", "type": "integer", "jsonPath": ".status.latestVersion"},
        {
            "name": "Staging",
            "type": "integer",
            "jsonPath": ".status.stages.staging.version",
        },
        {
            "name": "Production",
            "type": "integer",
            "jsonPath": ".status.stages.production.version",
        },
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": ".status.conditions[?(@.type=='Ready')].status",
        },
        {
            "name": "Reason",
            "type": "string",
            "jsonPath": ".status.conditions[?(@.type=='Ready')].reason",
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Model", "type": "string", "jsonPath": ".spec.name", "priority": 1},
    )

    spec: RegisteredModelSpec = RegisteredModelSpec()
    status: RegisteredModelStatus = RegisteredModelStatus()

    @property
    def model_name(self) -> str:
        """The name by which MLflow knows the model."""
        return self.spec.name or self.metadata.name

    @staticmethod
    def object_name_of(model_name: str) -> str:
        """Return the name of the object that holds the MLflow model `model_name`."""
        return object_name(model_name)
