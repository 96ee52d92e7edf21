"""What every object that the operator makes has in common."""

from __future__ import annotations

from typing import Any

from modelyard.api.common import Resource
from modelyard.api.names import API_VERSION, COMPONENT, INSTANCE, MANAGED_BY, NAME

Json = dict[str, Any]

POD_SECURITY: Json = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Pod-level half of the `restricted` Pod Security Standard."""

CONTAINER_SECURITY: Json = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Container-level half of it."""


def labels(component: str, instance: str) -> dict[str, str]:
    """Return the recommended labels of an object made for the custom object `instance`."""
    return {NAME: "modelyard", COMPONENT: component, INSTANCE: instance, MANAGED_BY: "modelyard"}


def literal(text: str) -> str:
    """Return what a container's command, argument or variable has to hold for its program to get `text`.

    The kubelet replaces `$(NAME)` there, whatever the shell's quotes, and makes `$` of `$$`:
    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    return text.replace("$", "$$")


def owner_reference(owner: Resource) -> Json:
    """Return the controller reference, through which the garbage collector removes the object with its owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind_name,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(owner: Resource, name: str, component: str, extra_labels: dict[str, str] | None = None) -> Json:
    """Return the metadata of an object that `owner` owns."""
    return {
        "name": name,
        "namespace": owner.metadata.namespace,
        "labels": {**labels(component, owner.metadata.name), **(extra_labels or {})},
        "ownerReferences": [owner_reference(owner)],
    }


def tried_once(retries: int, seconds: int, kept_seconds: int) -> Json:
    """Return the part of a Job's spec by which what ends by itself is not tried again.

    A pod that the cluster took away is replaced, so many times; the Job stays so long after it has ended.
    """
    return {
        "backoffLimit": retries,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
            ]
        },
        "activeDeadlineSeconds": seconds,
        "ttlSecondsAfterFinished": kept_seconds,
    }
