"""A node that pods are bound to, and that is lost: what the cluster does then is Kubernetes' own doing."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from examples.demo.kubectl import Kubectl
from tests.e2e.processes import wait_until
from tests.e2e.trials import Json

LABEL = "modelyard.dev/test-node"
ROOM = {"cpu": "4", "memory": "8Gi", "pods": "20", "ephemeral-storage": "10Gi"}
NOT_READY = "node.kubernetes.io/not-ready"


def only_on(place: str) -> Json:
    """Return what of a pod's template lets it run on nodes with that label alone, the lost one among them."""
    # Without a kubelet the node is called unreachable after 40 s, which a pod may need to get there.
    tolerated = (LABEL, "node.kubernetes.io/unreachable")
    return {"nodeSelector": {LABEL: place}, "tolerations": [{"key": key, "operator": "Exists"} for key in tolerated]}


@contextmanager
def node(kubectl: Kubectl, place: str) -> Iterator[str]:
    """A node that says that it is ready, though no kubelet is behind it. Nothing else comes to it; lost at the end."""
    name = f"lost-{uuid.uuid4().hex[:8]}"
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {LABEL: place}},
        "spec": {"taints": [{"key": LABEL, "value": place, "effect": "NoSchedule"}]},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    try:
        condition = {"type": "Ready", "status": "True", "reason": "Test", "message": ""}
        status = {"status": {"capacity": ROOM, "allocatable": ROOM, "conditions": [condition]}}
        kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))
        wait_until("the node takes pods", lambda: NOT_READY not in kubectl("get", "node", name, "-o", "json"))
        yield name
    finally:
        kubectl("delete", "node", name, "--wait=false")


@contextmanager
def labelled(kubectl: Kubectl, place: str) -> Iterator[None]:
    """The cluster's own nodes have the label."""
    kubectl("label", "nodes", "--all", "--overwrite", f"{LABEL}={place}")
    try:
        yield
    finally:
        kubectl("label", "nodes", "--all", f"{LABEL}-")
