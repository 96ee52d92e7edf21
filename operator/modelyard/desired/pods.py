"""A served version's Deployment, and the pod template that it keeps across upgrades of the operator."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import (
    MODEL_DIGEST_ANNOTATION,
    MODEL_NAME_ANNOTATION,
    MODEL_VERSION_LABEL,
    PREPARATION_ANNOTATION,
    REFRESH_ANNOTATION,
    TEMPLATE_ANNOTATION,
)
from modelyard.api.pods import PodOverrides, TopologySpread
from modelyard.api.rollout import RolloutSpec, parse_duration
from modelyard.api.runtime import EnvironmentMode, RuntimeMode, ServingLimits, TracingSpec
from modelyard.api.serving import DRAIN_SECONDS, ServedModel, pod_labels
from modelyard.desired.common import CONTAINER_SECURITY, POD_SECURITY, Json, labels, metadata
from modelyard.desired.reader import READER_SECRET

PORT = 8080
PORT_NAME = "http"
GRPC_PORT = 8081
GRPC_PORT_NAME = "grpc"
COMPONENT = "model"
"""The `app.kubernetes.io/component` of everything that a ModelDeployment owns."""

SHUTDOWN_SECONDS = 12
"""How long requests in flight may take after a pod has drained; together they stay below the pod's grace period."""

GRACE_SECONDS = 25
START_SECONDS = 600
"""How long a model may take to load at least, before its container is started again."""

KEPT_BYTES = 128 * 1024
"""The largest template that is kept: all of an object's annotations may have 256 KiB. A larger one is made anew by
every operator that makes it otherwise."""

ACCELERATED_SOURCE = "MODELYARD_ACCELERATED_SOURCE"
ACCELERATED_DIGEST = "MODELYARD_ACCELERATED_DIGEST"
ENVIRONMENT_SOURCE = "MODELYARD_ENVIRONMENT_SOURCE"
ENVIRONMENT_DIGEST = "MODELYARD_ENVIRONMENT_DIGEST"
"""By these a pod knows what was prepared, and so does the operator from a live pod template."""

_OF_PODS = {
    "resources",
    "pod",
    "recent_requests",
    "runtime",
    "environment",
    "limits",
    "access_log",
    "tracing",
}
"""The fields of `spec.rest` that pods are made from."""

_DEFAULT_SPREAD = (
    TopologySpread(topology_key="kubernetes.io/hostname"),
    TopologySpread(topology_key="topology.kubernetes.io/zone"),
)


def deployment_name(owner: ModelDeployment, model: ServedModel) -> str:
    """Return the name of the Deployment that serves this version."""
    return f"{owner.metadata.name}-v{model.version}-{model.revision}"


def deployment(
    owner: ModelDeployment,
    model: ServedModel,
    template: Json,
    inputs: str,
    replicas: int,
    *,
    note: tuple[str, str] | None = None,
) -> Json:
    """Return the Deployment of one version, with the pod template that was made from `inputs`.

    `note` is what had come of its preparation by then: a reason and a message.
    """
    noted = {PREPARATION_ANNOTATION: json.dumps(dict(zip(("reason", "message"), note, strict=True)))} if note else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **metadata(owner, deployment_name(owner, model), COMPONENT, _identity(owner, model)),
            "annotations": {**_annotations(model), **noted, TEMPLATE_ANNOTATION: _kept(template, inputs)},
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": _progress_deadline(owner),
            "selector": {"matchLabels": pod_labels(owner.metadata.name, model.revision)},
            # An edit of a version that is served never goes below its replicas.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": template,
        },
    }


def template_inputs(owner: ModelDeployment, model: ServedModel) -> str:
    """Return the hash of all that users say about this version's pods: 16 hex digits.

    Neither the operator's image nor its defaults are in it, and fields that have their default are not either: a newer
    operator, which may know more fields, comes to the same hash.
    """
    rest = owner.spec.rest
    said = rest.model_dump(by_alias=True, mode="json", exclude_defaults=True, include=_OF_PODS)
    identity = [model.name, model.version, model.artifact, model.digest]
    refresh = owner.metadata.annotations.get(REFRESH_ANNOTATION, "")
    spoken = {name: value for name, value in said.items() if value != {}}
    text = json.dumps([spoken, _start_seconds(owner), identity, refresh], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kept_template(live: Json, inputs: str) -> Json | None:
    """Return the pod template that the Deployment `live` was applied with, if it was made from the same `inputs`."""
    text = live["metadata"].get("annotations", {}).get(TEMPLATE_ANNOTATION, "")
    try:
        kept = json.loads(text)
    except ValueError:
        return None
    if not isinstance(kept, dict) or kept.get("inputs") != inputs:
        return None
    template = kept.get("template")
    return template if isinstance(template, dict) else None


def template(
    owner: ModelDeployment, model: ServedModel, image: str, pull_policy: str, node_cache: str | None = None
) -> Json:
    """Return the pod template of one version, as this operator makes it."""
    pod = owner.spec.rest.pod or PodOverrides()
    said = pod.to_dict()
    spec: Json = {
        "automountServiceAccountToken": pod.service_account_name is not None,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": POD_SECURITY,
        "containers": [_container(owner, model, image, pull_policy, node_cache)],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *_plain(said["volumes"])],
    }
    if spread := _spread(pod, pod_labels(owner.metadata.name, model.revision)):
        spec["topologySpreadConstraints"] = spread
    for field in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "priorityClassName",
        "runtimeClassName",
        "serviceAccountName",
        "imagePullSecrets",
    ):
        if said.get(field):
            spec[field] = _plain(said[field])
    return {
        "metadata": {
            "labels": {**pod.labels, **labels(COMPONENT, owner.metadata.name), **_identity(owner, model)},
            "annotations": {**pod.annotations, **_annotations(model)},
        },
        "spec": spec,
    }


def _container(
    owner: ModelDeployment, model: ServedModel, image: str, pull_policy: str, node_cache: str | None
) -> Json:
    health = {"httpGet": {"path": "/health", "port": PORT_NAME}}
    pod = owner.spec.rest.pod or PodOverrides()
    said = pod.to_dict()
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, *_plain(said["volumeMounts"])]  # noqa: S108 - in the container
    container: Json = {
        "name": "model",
        "image": image,
        "imagePullPolicy": pull_policy,
        "env": [
            *_environment(owner, model, node_cache),
            *({"name": each.name, "value": each.value} for each in pod.env),
        ],
        # What comes last counts: neither the credentials nor the token are replaced by a variable of the same name.
        "envFrom": [*_plain(said["envFrom"]), {"secretRef": {"name": READER_SECRET}}],
        "ports": [
            {"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"},
            {"name": GRPC_PORT_NAME, "containerPort": GRPC_PORT, "protocol": "TCP"},
        ],
        # Loading may take long; nothing else of the probes has to be generous for it.
        "startupProbe": {**health, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": _start_seconds(owner)},
        # Often, so that a pod is used soon after it can be; not strict, so that a busy one does not leave its share
        # to the others. A pod that goes is out of the endpoints without it.
        "readinessProbe": {**health, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }
    if owner.spec.rest.resources:
        container["resources"] = owner.spec.rest.resources.to_dict()
    return container


def _environment(owner: ModelDeployment, model: ServedModel, node_cache: str | None) -> list[Json]:
    values = {
        "MLFLOW_MODEL_URI": f"models:/{model.name}/{model.version}",
        "MODELYARD_MODEL_NAME": model.name,
        "MODELYARD_MODEL_VERSION": str(model.version),
        "MODELYARD_MODEL_SOURCE": model.artifact,
        "MODELYARD_MODEL_DIGEST": model.digest,
        "MODELYARD_PORT": str(PORT),
        "MODELYARD_GRPC_PORT": str(GRPC_PORT),
        "MODELYARD_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "MODELYARD_SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
        "MODELYARD_RECENT_REQUESTS": str(owner.spec.rest.recent_requests),
        **({"MODELYARD_NODE_CACHE": node_cache} if node_cache else {}),
        **_runtime(owner, model),
        **(_limits(owner.spec.rest.limits) if owner.spec.rest.limits else {}),
        **({"MODELYARD_ACCESS_LOG": "1"} if owner.spec.rest.access_log else {}),
        **(_tracing(owner, owner.spec.rest.tracing) if owner.spec.rest.tracing else {}),
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _runtime(owner: ModelDeployment, model: ServedModel) -> dict[str, str]:
    """Return what says how the model is run, and with what was prepared for it."""
    rest, prepared = owner.spec.rest, model.prepared
    values = {}
    if rest.runtime != RuntimeMode.AUTO:
        values["MODELYARD_RUNTIME"] = rest.runtime.lower()
    elif prepared.accelerated:
        values[ACCELERATED_SOURCE] = prepared.accelerated.source
        values[ACCELERATED_DIGEST] = prepared.accelerated.digest
    if rest.environment != EnvironmentMode.AUTO:
        values["MODELYARD_ENVIRONMENT"] = rest.environment.lower()
    if rest.environment != EnvironmentMode.IMAGE and prepared.environment:
        values[ENVIRONMENT_SOURCE] = prepared.environment.source
        values[ENVIRONMENT_DIGEST] = prepared.environment.digest
    return values


def _limits(limits: ServingLimits) -> dict[str, str]:
    return {
        "MODELYARD_MAX_BODY_BYTES": str(limits.max_body_bytes),
        "MODELYARD_MAX_QUEUE": str(limits.max_queue),
        "MODELYARD_REQUEST_SECONDS": f"{parse_duration(limits.timeout).total_seconds():g}",
        "MODELYARD_MAX_BATCH_ROWS": str(limits.max_batch_rows),
    }


def _tracing(owner: ModelDeployment, tracing: TracingSpec) -> dict[str, str]:
    """Return OpenTelemetry's own variables.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": tracing.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": tracing.sample_ratio,
        "OTEL_SERVICE_NAME": owner.metadata.name,
    }


def _spread(pod: PodOverrides, selected: dict[str, str]) -> list[Json]:
    constraints = _DEFAULT_SPREAD if pod.topology_spread is None else pod.topology_spread
    return [{**each.to_dict(), "labelSelector": {"matchLabels": selected}} for each in constraints]


def _progress_deadline(owner: ModelDeployment) -> int:
    return (owner.spec.rest.rollout or RolloutSpec()).progress_deadline_seconds


def _start_seconds(owner: ModelDeployment) -> int:
    """Return how long loading may take. A short deadline says how soon to give up a rollout, not a container:
    editing it restarts no pod that is served.
    """
    return max(START_SECONDS, _progress_deadline(owner))


def _identity(owner: ModelDeployment, model: ServedModel) -> dict[str, str]:
    return {**pod_labels(owner.metadata.name, model.revision), MODEL_VERSION_LABEL: str(model.version)}


def _annotations(model: ServedModel) -> dict[str, str]:
    return {MODEL_NAME_ANNOTATION: model.name, MODEL_DIGEST_ANNOTATION: model.digest}


def _kept(template: Json, inputs: str) -> str:
    text = json.dumps({"inputs": inputs, "template": template}, sort_keys=True, separators=(",", ":"))
    return text if len(text.encode()) <= KEPT_BYTES else json.dumps({"inputs": inputs}, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Return what a user wrote without `false`, which is the default of all such fields and is not given back."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not False}
    return [_plain(each) for each in value] if isinstance(value, list) else value
