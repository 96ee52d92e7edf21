"""By what requests reach a model's pods: Services, and Ingresses or an HTTPRoute."""

from __future__ import annotations

from modelyard.api.modeldeployment import GatewaySpec, IngressPath, IngressSpec, ModelDeployment
from modelyard.api.names import DEPLOYMENT_LABEL, STABLE_ANNOTATION
from modelyard.api.serving import pod_labels
from modelyard.desired.common import Json, metadata
from modelyard.desired.pods import COMPONENT, GRPC_PORT, GRPC_PORT_NAME, PORT_NAME

SERVICE_PORT = 80
NGINX = "nginx.ingress.kubernetes.io/"
"""Annotations of the ingress controller whose canaries are known here.

https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary
"""


def candidate_name(owner: ModelDeployment) -> str:
    """Return the name of the Service, and of the Ingress, by which a candidate alone is reached."""
    return f"{owner.metadata.name}-candidate"


def service(owner: ModelDeployment, stable: str, split: bool) -> Json:
    """Return the Service of the served revision `stable`; while traffic is `split`, of every revision's pods.

    Split like that, a revision's share is its share of the ready pods. The annotation says which one is served either
    way: it, and not the status, is what the operator goes by.
    """
    selector = {DEPLOYMENT_LABEL: owner.metadata.name} if split else pod_labels(owner.metadata.name, stable)
    body = _service(owner, owner.metadata.name, selector)
    body["metadata"]["annotations"] = {STABLE_ANNOTATION: stable}
    return body


def candidate_service(owner: ModelDeployment, revision: str) -> Json:
    """Return the Service that sends requests to the pods of the candidate only."""
    return _service(owner, candidate_name(owner), pod_labels(owner.metadata.name, revision))


def ingress(owner: ModelDeployment, spec: IngressSpec) -> Json:
    """Return the Ingress, which leads to the model's Service."""
    body = _ingress(owner, spec, owner.metadata.name)
    if spec.tls:
        body["spec"]["tls"] = [{"hosts": [spec.host], "secretName": spec.tls.secret_name}]
    if spec.annotations:
        body["metadata"]["annotations"] = dict(spec.annotations)
    return body


def candidate_ingress(owner: ModelDeployment, spec: IngressSpec, weight: int) -> Json:
    """Return the Ingress by which ingress-nginx gives the candidate `weight` percent of the requests.

    It has the other one's paths. TLS and what other controllers are told (certificates, names) is the other one's.
    """
    body = _ingress(owner, spec, candidate_name(owner))
    shared = {
        key: value
        for key, value in spec.annotations.items()
        if key.startswith(NGINX) and not key.startswith(f"{NGINX}canary")
    }
    canary = {f"{NGINX}canary": "true", f"{NGINX}canary-weight": str(weight)}
    body["metadata"]["annotations"] = {**shared, **canary}
    return body


def http_route(owner: ModelDeployment, spec: GatewaySpec, weight: int | None) -> Json:
    """Return the HTTPRoute, which gives the candidate `weight` percent of the requests; None does not name it.

    A proxy that learns of a Service and of its share at once may for a moment answer 503 for the one it does not know
    yet, so 0 comes before any share.
    """
    shares = {
        owner.metadata.name: 100 - (weight or 0),
        **({candidate_name(owner): weight} if weight is not None else {}),
    }
    rule: Json = {
        "matches": [{"path": {"type": "PathPrefix", "value": spec.path}}],
        "backendRefs": [{"name": name, "port": SERVICE_PORT, "weight": share} for name, share in shares.items()],
    }
    if spec.path.rstrip("/"):
        # The model's server knows its own paths only: what leads to it is taken off.
        rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata(owner, owner.metadata.name),
        "spec": {"parentRefs": [spec.parent_ref.to_dict()], "hostnames": [spec.hostname], "rules": [rule]},
    }


def _metadata(owner: ModelDeployment, name: str) -> Json:
    return metadata(owner, name, COMPONENT, {DEPLOYMENT_LABEL: owner.metadata.name})


def _service(owner: ModelDeployment, name: str, selector: dict[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(owner, name),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [
                {"name": PORT_NAME, "port": SERVICE_PORT, "targetPort": PORT_NAME, "protocol": "TCP"},
                {
                    "name": GRPC_PORT_NAME,
                    "port": GRPC_PORT,
                    "targetPort": GRPC_PORT_NAME,
                    "protocol": "TCP",
                    # Gateways and meshes speak HTTP/2 to it, without TLS.
                    "appProtocol": "kubernetes.io/h2c",
                },
            ],
        },
    }


def _ingress(owner: ModelDeployment, spec: IngressSpec, backend: str) -> Json:
    target = {"service": {"name": backend, "port": {"name": PORT_NAME}}}
    paths = [{**each.to_dict(), "backend": target} for each in spec.paths or (IngressPath(),)]
    body: Json = {"rules": [{"host": spec.host, "http": {"paths": paths}}]}
    if spec.class_name:
        body["ingressClassName"] = spec.class_name
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": _metadata(owner, backend),
        "spec": body,
    }
