"""`ModelDeployment`: serve whatever version is in a stage of a model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from modelyard.api.common import (
    ApiModel,
    Conditions,
    ObjectName,
    Resource,
    ResourceRequirements,
    StatusModel,
    Timestamp,
    VersionNumber,
    rules,
)
from modelyard.api.pods import LabelMap, PodOverrides
from modelyard.api.rollout import RefusedVersion, RolloutSpec, RolloutStatus
from modelyard.api.runtime import EnvironmentMode, RuntimeMode, ServingLimits, TracingSpec

HOST = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class ServedStage(StrEnum):
    """The stages that a deployment can follow."""

    STAGING = "Staging"
    PRODUCTION = "Production"


class ModelReference(ApiModel):
    """Which version to serve: the one in a stage, under an alias, or one by number."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.stage), has(self.version), has(self.alias)].filter(x, x).size() == 1",
                "exactly one of spec.model.stage, spec.model.version and spec.model.alias must be set",
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
    alias: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class IngressTls(ApiModel):
    """TLS of the Ingress."""

    secret_name: Annotated[str, Field(min_length=1, max_length=253)]


class PathType(StrEnum):
    """How an Ingress compares paths."""

    PREFIX = "Prefix"
    EXACT = "Exact"
    IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"


class IngressPath(ApiModel):
    """A path of the host that leads to the model."""

    path: Annotated[str, Field(min_length=1, max_length=1024, pattern="^/")] = "/"
    path_type: PathType = PathType.PREFIX


class IngressSpec(ApiModel):
    """The Ingress through which the model is reached from outside the cluster."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=HOST)]
    class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    paths: Annotated[tuple[IngressPath, ...], Field(max_length=16, description="Default: all paths.")] = ()
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = Field(
        default_factory=dict
    )
    tls: IngressTls | None = None


class GatewayReference(ApiModel):
    """A Gateway, and optionally one of its listeners."""

    name: ObjectName
    namespace: Annotated[ObjectName | None, Field(description="Default: the ModelDeployment's.")] = None
    section_name: ObjectName | None = None


class GatewaySpec(ApiModel):
    """The Gateway API's way from outside: an HTTPRoute, by which a canary's weights are exact."""

    parent_ref: GatewayReference
    hostname: Annotated[str, Field(min_length=1, max_length=253, pattern=HOST)]
    path: Annotated[str, Field(min_length=1, max_length=1024, pattern="^/", description="A prefix.")] = "/"


class AutoscalingSpec(ApiModel):
    """A HorizontalPodAutoscaler for the served version; needs metrics-server. It owns the number of pods."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.minReplicas <= self.maxReplicas", "spec.rest.autoscaling: minReplicas is above maxReplicas"),
            (
                "has(self.targetCPU) || has(self.targetMemory)",
                "spec.rest.autoscaling: set targetCPU, targetMemory or both",
            ),
        )
    )

    min_replicas: Annotated[int, Field(ge=1, le=1000, json_schema_extra={"format": "int32"})] = 1
    max_replicas: Annotated[int, Field(ge=1, le=1000, json_schema_extra={"format": "int32"})]
    target_cpu: Annotated[
        int | None,
        Field(
            alias="targetCPU",
            ge=1,
            le=1000,
            description="Percent of the requested CPU.",
            json_schema_extra={"format": "int32"},
        ),
    ] = None
    target_memory: Annotated[
        int | None,
        Field(ge=1, le=1000, description="Percent of the requested memory.", json_schema_extra={"format": "int32"}),
    ] = None


class DisruptionBudget(ApiModel):
    """How many pods an eviction may take at a time: a PodDisruptionBudget."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.minAvailable) != has(self.maxUnavailable)",
                "spec.rest.disruptionBudget: set exactly one of minAvailable and maxUnavailable",
            )
        )
    )

    min_available: Annotated[int, Field(ge=0, le=1000, json_schema_extra={"format": "int32"})] | None = None
    max_unavailable: Annotated[int, Field(ge=0, le=1000, json_schema_extra={"format": "int32"})] | None = None


class NetworkPeer(ApiModel):
    """Pods that may ask the model, by their labels and those of their namespace."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.namespaceLabels) || has(self.podLabels)",
                "spec.rest.networkPolicy.from: set namespaceLabels, podLabels or both",
            )
        )
    )

    namespace_labels: Annotated[
        LabelMap | None, Field(description="Default: the namespace of the ModelDeployment. {}: any namespace.")
    ] = None
    pod_labels: Annotated[LabelMap | None, Field(description="Default: all pods of these namespaces.")] = None


class NetworkPolicySpec(ApiModel):
    """A NetworkPolicy: who may send requests to the model's pods. The operator, which reads metrics, always may."""

    from_: Annotated[
        tuple[NetworkPeer, ...], Field(alias="from", max_length=16, description="Ingress controllers, too.")
    ] = ()


class RestSpec(ApiModel):
    """Answer requests over HTTP."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(has(self.ingress) && has(self.gateway))",
                "at most one of spec.rest.ingress and spec.rest.gateway may be set",
            ),
            (
                "!has(self.autoscaling) || !has(self.autoscaling.targetCPU) || (has(self.resources)"
                " && has(self.resources.requests) && 'cpu' in self.resources.requests)",
                "spec.rest.autoscaling.targetCPU needs spec.rest.resources.requests.cpu",
            ),
            (
                "!has(self.autoscaling) || !has(self.autoscaling.targetMemory) || (has(self.resources)"
                " && has(self.resources.requests) && 'memory' in self.resources.requests)",
                "spec.rest.autoscaling.targetMemory needs spec.rest.resources.requests.memory",
            ),
        )
    )

    replicas: Annotated[
        int,
        Field(ge=0, le=1000, description="Not used with autoscaling.", json_schema_extra={"format": "int32"}),
    ] = 1
    resources: ResourceRequirements | None = None
    autoscaling: AutoscalingSpec | None = None
    disruption_budget: Annotated[
        DisruptionBudget | None, Field(description="Default: maxUnavailable 1, where there are two pods or more.")
    ] = None
    ingress: IngressSpec | None = None
    gateway: GatewaySpec | None = None
    network_policy: NetworkPolicySpec | None = None
    pod: PodOverrides | None = None
    rollout: RolloutSpec | None = None
    runtime: Annotated[
        RuntimeMode,
        Field(description="Auto: by ONNX Runtime where it was checked that this changes no answer. Native: never."),
    ] = RuntimeMode.AUTO
    environment: Annotated[
        EnvironmentMode,
        Field(
            description="What the model's libraries are. Auto: the image's, or those that the model asks for where"
            " they differ. Image: the image's in any case. Model: those that the model asks for in any case."
        ),
    ] = EnvironmentMode.AUTO
    limits: ServingLimits | None = None
    access_log: Annotated[bool, Field(description="Write a line to the log for every request.")] = False
    tracing: TracingSpec | None = None
    recent_requests: Annotated[
        int,
        Field(
            ge=0,
            le=10000,
            description="How many of its newest requests a pod remembers, for replaying them to a candidate. 0: none.",
        ),
    ] = 256


class ModelDeploymentSpec(ApiModel):
    """What the users want served, and how. The operator never writes it."""

    model: ModelReference
    rest: RestSpec


class Phase(StrEnum):
    """Where a deployment stands, in one word."""

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    HELD = "Held"
    PAUSED = "Paused"
    SERVING = "Serving"
    ROLLED_BACK = "RolledBack"
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
    weight: Annotated[
        int | None,
        Field(ge=0, le=100, description="The candidate's share of the requests, in percent; absent without one."),
    ] = None
    rollout: RolloutStatus | None = None
    refused: RefusedVersion | None = None
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
        {"name": "Weight", "type": "integer", "jsonPath": ".status.weight"},
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
