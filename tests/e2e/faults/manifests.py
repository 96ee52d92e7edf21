"""Objects by which a cluster gets in the way: admission policies, webhooks, quotas, and credentials that do not fit."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ADMISSION = "admissionregistration.k8s.io"
READER_SECRET = "modelyard-artifacts-reader"
PROBE_POD: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "probe"},
    "spec": {"containers": [{"name": "probe", "image": "probe:1"}]},
}
PROBE_DEPLOYMENT: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "probe"},
    "spec": {
        "selector": {"matchLabels": {"app": "probe"}},
        "template": {"metadata": {"labels": {"app": "probe"}}, "spec": PROBE_POD["spec"]},
    },
}


def _match(namespace: str, resource: str) -> Json:
    """Return what a policy or a webhook is asked about: the creation of these objects in this namespace."""
    group, version = ("", "v1") if resource == "pods" else ("apps", "v1")
    rule = {"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": [resource]}
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}, "rule": rule}


def denying_policy(namespace: str, resource: str) -> tuple[Json, Json]:
    """Return a ValidatingAdmissionPolicy that allows no object of the resource, and its binding."""
    name, match = f"{namespace}-denies", _match(namespace, resource)
    policy = {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": match["namespaceSelector"],
                "resourceRules": [match["rule"]],
            },
            "validations": [{"expression": "false", "message": "no models on Sundays"}],
        },
    }
    binding = {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return policy, binding


def mutating_policy(namespace: str, patch: str) -> tuple[Json, Json]:
    """Return a MutatingAdmissionPolicy that changes pods by a CEL list of JSON patches, and its binding."""
    name, match = f"{namespace}-changes", _match(namespace, "pods")
    policy = {
        "apiVersion": f"{ADMISSION}/v1beta1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "namespaceSelector": match["namespaceSelector"],
                "resourceRules": [match["rule"]],
            },
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
        },
    }
    binding = {
        "apiVersion": f"{ADMISSION}/v1beta1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    return policy, binding


def silent_webhook(namespace: str, resource: str) -> Json:
    """Return a webhook that must be asked about the resource, and that nobody runs."""
    match = _match(namespace, resource)
    return {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"{namespace}-silent"},
        "webhooks": [
            {
                "name": "silent.example.com",
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 2,
                "clientConfig": {"service": {"namespace": namespace, "name": "no-such-service", "port": 443}},
                "namespaceSelector": match["namespaceSelector"],
                "rules": [match["rule"]],
            }
        ],
    }


def image(name: str) -> str:
    """Return the patch of a policy that has pods use another image, as mirrors of registries do."""
    return f'[JSONPatch{{op: "replace", path: "/spec/containers/0/image", value: "{name}"}}]'


def sidecar(script: str, security: str = "") -> str:
    """Return the patch of a policy that gives pods a sidecar, which runs a Python script in the serving image."""
    command = f"""["python3", "-c", '''{script}''']"""
    context = f", securityContext: {security}" if security else ""
    container = (
        'Object.spec.initContainers{name: "sidecar", restartPolicy: "Always", imagePullPolicy: "IfNotPresent", '
        f"image: object.spec.containers[0].image, command: {command}{context}}}"
    )
    # A list of objects in a patch makes this API server's handler panic: the list comes first, empty, then its element.
    empty = 'JSONPatch{op: "add", path: "/spec/initContainers", value: []}'
    return f'[{empty}, JSONPatch{{op: "add", path: "/spec/initContainers/-", value: {container}}}]'


SECURE = (
    "Object.spec.initContainers.securityContext{allowPrivilegeEscalation: false, "
    'capabilities: Object.spec.initContainers.securityContext.capabilities{drop: ["ALL"]}}'
)


def reader(**values: str) -> Json:
    """Return the namespace's own Secret for reading artifacts, which the operator leaves as it is."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": READER_SECRET}, "stringData": values}


def quota(**hard: str) -> Json:
    """Return a ResourceQuota."""
    spec = {"hard": {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": spec}


def limit_range(memory: str) -> Json:
    """Return a LimitRange: no container may have more memory."""
    spec = {"limits": [{"type": "Container", "max": {"memory": memory}}]}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": spec}


def claim(name: str, storage_class: str) -> Json:
    """Return a PersistentVolumeClaim."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def gateway(name: str, class_name: str) -> Json:
    """Return a Gateway with one listener."""
    spec = {"gatewayClassName": class_name, "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": spec,
    }
