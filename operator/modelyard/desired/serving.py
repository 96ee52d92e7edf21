"""Objects of a ModelDeployment: a Deployment per version, one Service, one Ingress, a Secret for reading."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from modelyard.api.modeldeployment import IngressSpec, ModelDeployment
from modelyard.api.names import (
    DEPLOYMENT_LABEL,
    MODEL_DIGEST_ANNOTATION,
    MODEL_NAME_ANNOTATION,
    MODEL_VERSION_LABEL,
)
from modelyard.api.serving import DRAIN_SECONDS, ServedModel, pod_labels
from modelyard.desired.common import CONTAINER_SECURITY, POD_SECURITY, Json, labels, metadata

READER_SECRET = "modelyard-artifacts-reader"  # noqa: S105 - the name of an object
PORT = 8080
_COMPONENT = "model"


@dataclass(frozen=True)
class Reader:
    """How model pods reach the artifact store."""

    access_key: str
    secret_key: str
    endpoint: str | None
    region: str


def deployment_name(owner: ModelDeployment, model: ServedModel) -> str:
    """Return the name of the Deployment that serves this version."""
    return f"{owner.metadata.name}-v{model.version}-{model.revision}"


def deployment(owner: ModelDeployment, model: ServedModel, image: str, pull_policy: str) -> Json:
    """Return the Deployment of one version."""
    selected = pod_labels(owner.metadata.name, model.revision)
    identity = {**selected, MODEL_VERSION_LABEL: str(model.version)}
    annotations = {MODEL_NAME_ANNOTATION: model.name, MODEL_DIGEST_ANNOTATION: model.digest}
    meta = metadata(owner, deployment_name(owner, model), _COMPONENT, identity)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**meta, "annotations": annotations},
        "spec": {
            "replicas": owner.spec.rest.replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": 300,
            "selector": {"matchLabels": selected},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": {**labels(_COMPONENT, owner.metadata.name), **identity},
                    "annotations": annotations,
                },
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": DRAIN_SECONDS + 50,
                    "securityContext": POD_SECURITY,
                    "containers": [_container(owner, model, image, pull_policy)],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def _container(owner: ModelDeployment, model: ServedModel, image: str, pull_policy: str) -> Json:
    health = {"httpGet": {"path": "/health", "port": "http"}}
    environment = {
        "MLFLOW_MODEL_URI": f"models:/{model.name}/{model.version}",
        "MODELYARD_MODEL_NAME": model.name,
        "MODELYARD_MODEL_VERSION": str(model.version),
        "MODELYARD_MODEL_SOURCE": model.artifact,
        "MODELYARD_MODEL_DIGEST": model.digest,
        "MODELYARD_PORT": str(PORT),
        "MODELYARD_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    container: Json = {
        "name": "model",
        "image": image,
        "imagePullPolicy": pull_policy,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "envFrom": [{"secretRef": {"name": READER_SECRET}}],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        # Loading may take long; nothing else of the probes has to be generous for it.
        "startupProbe": {**health, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 600},
        "readinessProbe": {**health, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
        "livenessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the container
    }
    if owner.spec.rest.resources:
        container["resources"] = owner.spec.rest.resources.to_dict()
    return container


def service(owner: ModelDeployment, revision: str) -> Json:
    """Return the Service, which sends requests to the pods of `revision` only."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, owner.metadata.name, _COMPONENT, {DEPLOYMENT_LABEL: owner.metadata.name}),
        "spec": {
            "type": "ClusterIP",
            "selector": pod_labels(owner.metadata.name, revision),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def ingress(owner: ModelDeployment, spec: IngressSpec) -> Json:
    """Return the Ingress: every path of the host goes to the Service."""
    backend = {"service": {"name": owner.metadata.name, "port": {"name": "http"}}}
    meta = metadata(owner, owner.metadata.name, _COMPONENT, {DEPLOYMENT_LABEL: owner.metadata.name})
    rule = {"host": spec.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    body: Json = {"rules": [rule]}
    if spec.class_name:
        body["ingressClassName"] = spec.class_name
    if spec.tls:
        body["tls"] = [{"hosts": [spec.host], "secretName": spec.tls.secret_name}]
    if spec.annotations:
        meta["annotations"] = dict(spec.annotations)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": body}


def reader_secret(namespace: str, reader: Reader) -> Json:
    """Return the Secret with which a namespace's model pods read artifacts; its keys become their environment."""
    values = {
        "AWS_ACCESS_KEY_ID": reader.access_key,
        "AWS_SECRET_ACCESS_KEY": reader.secret_key,
        "AWS_DEFAULT_REGION": reader.region,
    }
    if reader.endpoint:
        values["AWS_ENDPOINT_URL_S3"] = reader.endpoint
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": READER_SECRET,
            "namespace": namespace,
            "labels": labels("artifacts-reader", "modelyard"),
        },
        "data": {name: b64encode(value.encode()).decode() for name, value in values.items()},
    }
