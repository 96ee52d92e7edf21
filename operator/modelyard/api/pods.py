"""What users may say about pods that serve or train a model: Kubernetes' own fields, under Kubernetes' own names."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from modelyard.api.common import ApiModel, EnvVar, ObjectName, rules

_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

Verbatim = Annotated[dict[str, Any], Field(json_schema_extra=_OPEN)]
"""An object of Kubernetes' API as it stands; the API server checks it when the Deployment is applied."""

VOLUME_SOURCES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
)


def keyed_by(*keys: str) -> dict[str, Any]:
    """Return the JSON-schema extra of a list in which no two items have the same keys, as in the pod's own lists."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LabelMap = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]


class TolerationOperator(StrEnum):
    """How a toleration's key is compared with a taint's."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class Toleration(ApiModel):
    """Which taint of a node the pods put up with."""

    key: Annotated[str, Field(max_length=317)] | None = None
    operator: TolerationOperator | None = None
    value: Annotated[str, Field(max_length=63)] | None = None
    effect: Annotated[str, Field(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] | None = None
    toleration_seconds: Annotated[int, Field(ge=0, le=2**31 - 1, json_schema_extra={"format": "int64"})] | None = None


class LocalReference(ApiModel):
    """The name of an object of the namespace."""

    name: ObjectName


class SpreadPolicy(StrEnum):
    """What spreading does where it cannot be had."""

    SCHEDULE_ANYWAY = "ScheduleAnyway"
    DO_NOT_SCHEDULE = "DoNotSchedule"


class TopologySpread(ApiModel):
    """Pods of one version are spread over the values of a node's label."""

    topology_key: Annotated[str, Field(min_length=1, max_length=317)]
    max_skew: Annotated[int, Field(ge=1, le=100, json_schema_extra={"format": "int32"})] = 1
    when_unsatisfiable: SpreadPolicy = SpreadPolicy.SCHEDULE_ANYWAY


class NamedVolume(ApiModel):
    """A volume: its name, and one source of those that the restricted Pod Security Standard has."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"[{', '.join(f'has(self.{source})' for source in VOLUME_SOURCES)}].filter(x, x).size() == 1",
                f"volumes: set exactly one of {', '.join(VOLUME_SOURCES)};"
                " the restricted Pod Security Standard has no others",
            )
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    config_map: Verbatim | None = None
    csi: Verbatim | None = None
    downward_api: Annotated[Verbatim | None, Field(alias="downwardAPI")] = None
    empty_dir: Verbatim | None = None
    ephemeral: Verbatim | None = None
    persistent_volume_claim: Verbatim | None = None
    projected: Verbatim | None = None
    secret: Verbatim | None = None


class VolumeMount(ApiModel):
    """Where a volume is in the model's container."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    mount_path: Annotated[str, Field(min_length=1, max_length=4096, pattern="^/")]
    sub_path: Annotated[str, Field(max_length=4096)] | None = None
    read_only: bool = False


class PodFields(ApiModel):
    """What users may say of every pod that runs for them, whatever it does."""

    labels: LabelMap = Field(default_factory=dict)
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict
    )
    node_selector: LabelMap = Field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    affinity: Annotated[Verbatim | None, Field(description="As in a pod.")] = None
    priority_class_name: ObjectName | None = None
    runtime_class_name: ObjectName | None = None
    service_account_name: Annotated[
        ObjectName | None,
        Field(description="Its token is in the pod. Default: the namespace's default, without a token."),
    ] = None
    image_pull_secrets: Annotated[
        tuple[LocalReference, ...], Field(max_length=16, json_schema_extra=keyed_by("name"))
    ] = ()
    env_from: Annotated[
        tuple[Verbatim, ...], Field(max_length=16, description="Secrets and ConfigMaps, as in a container's envFrom.")
    ] = ()
    volumes: Annotated[
        tuple[NamedVolume, ...],
        Field(max_length=16, description="As in a pod.", json_schema_extra=keyed_by("name")),
    ] = ()
    volume_mounts: Annotated[
        tuple[VolumeMount, ...], Field(max_length=16, json_schema_extra=keyed_by("mountPath"))
    ] = ()


class PodOverrides(PodFields):
    """What the pods have besides what serving needs. None of it can loosen the restricted Pod Security Standard."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.env) || self.env.all(e, !e.name.startsWith('MODELYARD_') && e.name != 'MLFLOW_MODEL_URI')",
                "spec.rest.pod.env: names that begin with MODELYARD_, and MLFLOW_MODEL_URI, are the operator's",
            ),
            (
                "!has(self.labels) || self.labels.all(key, !key.startsWith('modelyard.dev/')"
                " && !key.startsWith('app.kubernetes.io/'))",
                "spec.rest.pod.labels: modelyard.dev/ and app.kubernetes.io/ are the operator's",
            ),
            (
                "!has(self.volumes) || self.volumes.all(v, v.name != 'tmp')",
                "spec.rest.pod.volumes: the name tmp is taken",
            ),
            (
                "!has(self.volumeMounts) || self.volumeMounts.all(m, !(m.mountPath in ['/', '/tmp', '/tmp/']))",
                "spec.rest.pod.volumeMounts: / and /tmp are taken; mount below /tmp or elsewhere",
            ),
            (
                "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes)"
                " && self.volumes.exists(v, v.name == m.name))",
                "spec.rest.pod.volumeMounts: each needs a volume of that name in spec.rest.pod.volumes",
            ),
        )
    )

    topology_spread: Annotated[
        tuple[TopologySpread, ...] | None,
        Field(
            max_length=8,
            description="Default: over nodes and zones, as far as that can be had. Empty: none.",
            json_schema_extra=keyed_by("topologyKey", "whenUnsatisfiable"),
        ),
    ] = None
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=keyed_by("name"))] = ()
