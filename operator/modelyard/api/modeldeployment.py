"""`ModelDeployment`: serve whatever version is in a stage of a model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from modelyard.api.common import (
    ApiModel,
    Conditions,
    Resource,
    ResourceRequirements,
    StatusModel,
    Timestamp,
    VersionNumber,
    rules,
)


class ServedStage(StrEnum):
    """The stages that a deployment can follow."""

    STAGING = "Staging"
    PRODUCTION = "Production"


class ModelReference(ApiModel):
    """Which version to serve: the one in a stage, or one by number."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.stage) != has(self.version)",
                "exactly one of spec.model.stage and spec.model.version must be set",
            )
        ),
    )

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=256,
            description="The model's name in MLflow, or its object's name.",
        ),
    ]
    stage: ServedStage | None = None
    version: VersionNumber | None = None


class IngressTls(ApiModel):
    """TLS of the Ingress."""

    secret_name: Annotated[str, Field(min_length=1, max_length=253)]


class IngressSpec(ApiModel):
    """The Ingress through which the model is reached from outside the cluster."""

    host: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        ),
    ]
    class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = Field(
        default_factory=dict
    )
    tls: IngressTls | None = None


class RestSpec(ApiModel):
    """Answer requests over HTTP."""

    replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra={"format": "int32"})] = 1
    resources: ResourceRequirements | None = None
    ingress: IngressSpec | None = None


class ModelDeploymentSpec(ApiModel):
    """What the users want served, and how. The operator never writes it."""

    model: ModelReference
    rest: RestSpec


class Phase(StrEnum):
    """Where a deployment stands, in one word."""

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    SERVING = "Serving"
    DEGRADED = "Degraded"


class DeployedVersion(StatusModel):
    """A version of a model, as it is deployed."""

    model: Annotated[str, Field(max_length=256)]
    version: VersionNumber
    digest: Annotated[str, Field(max_length=71)]
    since: Timestamp


class DrainingVersion(StatusModel):
    """A version that gets no new requests and is kept until those in flight have ended."""

    version: VersionNumber
    revision: Annotated[str, Field(max_length=63, description="The label of its pods.")]
    since: Timestamp


class ModelDeploymentStatus(StatusModel):
    """What is served, what is wanted, and why they differ."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    phase: Phase | None = None
    served: DeployedVersion | None = None
    candidate: DeployedVersion | None = None
    draining: Annotated[tuple[DrainingVersion, ...], Field(max_length=16)] = ()
    url: Annotated[str, Field(max_length=512)] | None = None
    replicas: Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})] = 0
    ready_replicas: Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})] = 0
    selector: Annotated[str, Field(max_length=512, description="Label selector of the served pods.")] | None = None
    conditions: Conditions = ()


class ModelDeployment(Resource):
    """A model, rolled out: whatever is promoted is served."""

    kind_name: ClassVar[str] = "ModelDeployment"
    plural: ClassVar[str] = "modeldeployments"
    singular: ClassVar[str] = "modeldeployment"
    short_names: ClassVar[tuple[str, ...]] = ("md",)
    printer_columns: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Model", "type": "string", "jsonPath": ".spec.model.name"},
        {"name": "Version", "type": "integer", "jsonPath": ".status.served.version"},
        {
            "name": "Candidate",
            "type": "integer",
            "jsonPath": ".status.candidate.version",
        },
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": ".status.conditions[?(@.type=='Ready')].status",
        },
        {"name": "URL", "type": "string", "jsonPath": ".status.url"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {
            "name": "Reason",
            "type": "string",
            "jsonPath": ".status.conditions[?(@.type=='Ready')].reason",
            "priority": 1,
        },
    )
    scale: ClassVar[dict[str, str] | None] = {
        "specReplicasPath": ".spec.rest.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }

    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus = ModelDeploymentStatus()
