"""`RegisteredModel`: a model, its versions, and which version is in which stage."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from modelyard.api.common import (
    ApiModel,
    Decimal,
    ObjectName,
    Resource,
    VersionNumber,
    rules,
)
from modelyard.api.gates import GATES_LIMIT, Gate
from modelyard.api.model_status import InheritedStatus, RegisteredModelStatus
from modelyard.api.names import object_name
from modelyard.api.stages import ASSIGNABLE, STAGE_KEYS, Stage

__all__ = ["ASSIGNABLE", "STAGE_KEYS", "RegisteredModel", "Stage"]

TAG_LIMIT = 64
TAG_VALUE_LIMIT = 5000
DESCRIPTION_LIMIT = 8192

Tags = Annotated[dict[str, Annotated[str, Field(max_length=TAG_VALUE_LIMIT)]], Field(max_length=TAG_LIMIT)]
_TAG_KEYS = ("self.all(key, size(key) >= 1 && size(key) <= 250)", "a tag's key has 1 to 250 characters")
_METRIC_KEYS = ("self.all(key, size(key) >= 1 && size(key) <= 250)", "a metric's name has 1 to 250 characters")
_STAGE_KEYS = ("self.all(stage, stage in ['staging', 'production'])", "unknown stage: {} takes staging and production")
_FROM_ANOTHER_STAGE = (
    "self.all(stage, self[stage].all(gate, !has(gate.fromStage) || gate.fromStage != stage))",
    "fromStage must name another stage than the gate's own, or no version could ever enter it",
)
_NAME = "(has({0}.spec.name) ? {0}.spec.name : {0}.metadata.name)"


def _stage_keys(field: str) -> tuple[str, str]:
    rule, message = _STAGE_KEYS
    return rule, message.format(field)


class DeclaredVersion(ApiModel):
    """A version that Git declares: the operator registers it, no tracking server is needed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.source == oldSelf.source",
                "the source of a version cannot be changed: declare another version",
            )
        )
    )

    version: VersionNumber
    source: Annotated[
        str,
        Field(
            min_length=6,
            max_length=1024,
            pattern=r"^s3://[^/]+/.+$",
            description="The directory that holds the model, an s3:// URI that the installation can read.",
        ),
    ]
    description: Annotated[str, Field(max_length=1024)] | None = None
    tags: Annotated[
        dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=16, json_schema_extra=rules(_TAG_KEYS))
    ] = Field(default_factory=dict)
    metrics: Annotated[
        dict[str, Decimal],
        Field(
            max_length=32,
            description="What gates compare where there is no MLflow run.",
            json_schema_extra=rules(_METRIC_KEYS),
        ),
    ] = Field(default_factory=dict)


class Retention(ApiModel):
    """Which archived versions keep their files. A version in a stage or under an alias always does."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.archived) || has(self.maxAge)", "set archived, maxAge or both: without them nothing is deleted")
        )
    )

    archived: (
        Annotated[int, Field(ge=0, le=100000, description="How many archived versions keep their files.")] | None
    ) = None
    max_age: (
        Annotated[
            str,
            Field(
                max_length=7,
                pattern=r"^[1-9][0-9]{0,5}[hdw]$",
                description="How long after it was archived: 12h, 180d, 26w.",
            ),
        ]
        | None
    ) = None


class SecretKey(ApiModel):
    """One key of a Secret in the model's namespace."""

    name: ObjectName
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class Webhook(ApiModel):
    """Where every transition is sent to, as a CloudEvent, until the receiver has taken it."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    url: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^/@\s]+(/\S*)?$")]
    secret_ref: Annotated[SecretKey, Field(description="The key that signs the requests (Standard Webhooks).")]


class RegisteredModelSpec(ApiModel):
    """What the users want of a model. The operator never writes it."""

    name: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=256,
                description="The model's name in MLflow, where it differs from the object's. It cannot be changed.",
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
                _stage_keys("spec.stages"),
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
    versions: Annotated[
        tuple[DeclaredVersion, ...],
        Field(
            max_length=256,
            description="Versions that Git declares. Taking one out of the list does not delete it.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["version"],
            },
        ),
    ] = ()
    gates: Annotated[
        dict[
            str,
            Annotated[
                tuple[Gate, ...],
                Field(
                    max_length=GATES_LIMIT,
                    json_schema_extra={
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                    },
                ),
            ],
        ],
        Field(
            max_length=2,
            description="What a version must pass to enter a stage. All gates of the stage are judged.",
            json_schema_extra=rules(_stage_keys("spec.gates"), _FROM_ANOTHER_STAGE),
        ),
    ] = Field(default_factory=dict)
    retention: Retention | None = None
    webhooks: Annotated[
        tuple[Webhook, ...],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()


class RegisteredModel(Resource):
    """A model of MLflow's registry, as a Kubernetes object."""

    kind_name: ClassVar[str] = "RegisteredModel"
    plural: ClassVar[str] = "registeredmodels"
    singular: ClassVar[str] = "registeredmodel"
    short_names: ClassVar[tuple[str, ...]] = ("rm",)
    object_rules: ClassVar[tuple[dict[str, str], ...]] = (
        {
            # Saying what holds already, the object's own name, changes nothing.
            "rule": f"{_NAME.format('self')} == {_NAME.format('oldSelf')}",
            "message": "spec.name cannot be changed: create another RegisteredModel",
            "fieldPath": ".spec.name",
        },
    )
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

    @property
    def wanted_stages(self) -> dict[str, int]:
        """The version wanted in each stage: what the spec says, over what was inherited."""
        return {**self._inherited.stages, **self.spec.stages}

    @property
    def aliases(self) -> dict[str, int]:
        """The aliases: what the spec says, over what was inherited."""
        return {**self._inherited.aliases, **self.spec.aliases}

    @property
    def tags(self) -> dict[str, str]:
        """The model's tags: what the spec says, over what was inherited."""
        return {**self._inherited.tags, **self.spec.tags}

    @property
    def description(self) -> str | None:
        """The model's description: the spec's, or else the inherited one."""
        return self._inherited.description if self.spec.description is None else self.spec.description

    @property
    def _inherited(self) -> InheritedStatus:
        return self.status.inherited or InheritedStatus()

    @staticmethod
    def object_name_of(model_name: str) -> str:
        """Return the name of the object that holds the MLflow model `model_name`."""
        return object_name(model_name)
