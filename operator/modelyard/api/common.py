"""What the three kinds share: the base of all their types, metadata, conditions, Kubernetes' own small types."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

Decimal = Annotated[
    str,
    Field(max_length=40, pattern=DECIMAL, description="A decimal number, as a string."),
]
VersionNumber = Annotated[int, Field(ge=1, le=2147483647)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of another object of the namespace: an RFC 1123 subdomain."""


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return the JSON-schema extra that holds CEL rules, given as (expression, message) pairs."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


class ApiModel(BaseModel):
    """Base of every type of the API: immutable, camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form: camelCase keys, JSON values, nothing that is unset."""
        return self.model_dump(by_alias=True, mode="json", exclude_none=True)


class StatusModel(ApiModel):
    """Base of status types: a field that a newer operator wrote is passed over, so that a downgrade can read it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class ConditionStatus(StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """One `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    status: ConditionStatus
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        ),
    ]
    message: Annotated[str, Field(max_length=4096)] = ""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        max_length=8,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    ),
]

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, UTC.")]


class Metadata(BaseModel):
    """The part of `metav1.ObjectMeta` that the operator reads."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    managed_fields: tuple[dict[str, Any], ...] = ()


class Resource(BaseModel):
    """Base of the three kinds: what a custom object looks like to the operator."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    kind_name: ClassVar[str]
    plural: ClassVar[str]
    singular: ClassVar[str]
    short_names: ClassVar[tuple[str, ...]]
    printer_columns: ClassVar[tuple[dict[str, Any], ...]]
    scale: ClassVar[dict[str, str] | None] = None
    object_rules: ClassVar[tuple[dict[str, str], ...]] = ()
    """CEL rules that need more than the spec: metadata.name is there, too."""
    name_limit: ClassVar[int | None] = 52
    """How long `metadata.name` may be: other objects are named after it, and labels carry it."""

    metadata: Metadata

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Return the typed object.

        Raises `pydantic.ValidationError` where the cluster's CRD is older or newer than this code.
        """
        return cls.model_validate(body)


class ResourceRequirements(ApiModel):
    """CPU, memory and other resources of a container."""

    requests: (
        Annotated[
            dict[str, Annotated[str, Field(max_length=32, pattern=QUANTITY)]],
            Field(max_length=16),
        ]
        | None
    ) = None
    limits: (
        Annotated[
            dict[str, Annotated[str, Field(max_length=32, pattern=QUANTITY)]],
            Field(max_length=16),
        ]
        | None
    ) = None


class EnvVar(ApiModel):
    """One environment variable with a literal value."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=128, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"),
    ]
    value: Annotated[str, Field(max_length=4096)] = ""
