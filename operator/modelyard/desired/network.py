"""Who may send requests to a model's pods."""

from __future__ import annotations

from modelyard.api.modeldeployment import ModelDeployment, NetworkPeer, NetworkPolicySpec
from modelyard.api.names import COMPONENT as COMPONENT_LABEL
from modelyard.api.names import DEPLOYMENT_LABEL, MANAGED_BY
from modelyard.desired.common import Json, metadata
from modelyard.desired.pods import COMPONENT, GRPC_PORT, PORT
from modelyard.desired.preparation import COMPONENT as PREPARATION

_PREPARING = {MANAGED_BY: "modelyard", COMPONENT_LABEL: PREPARATION}


def network_policy(owner: ModelDeployment, spec: NetworkPolicySpec, operator_namespace: str | None) -> Json:
    """Return the NetworkPolicy of the pods of all of the model's versions.

    Besides the peers of the spec, the pods themselves may ask each other (a candidate is tried with requests that the
    served version remembers), as may Jobs that prepare versions, and the operator may read what they measure.
    """
    own = {DEPLOYMENT_LABEL: owner.metadata.name}
    peers: list[Json] = [
        *(_peer(peer) for peer in spec.from_),
        *({"podSelector": {"matchLabels": found}} for found in (own, _PREPARING)),
    ]
    if operator_namespace:
        peers.append({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}}})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(owner, owner.metadata.name, COMPONENT, own),
        "spec": {
            "podSelector": {"matchLabels": own},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers, "ports": [{"protocol": "TCP", "port": each} for each in (PORT, GRPC_PORT)]}],
        },
    }


def _peer(peer: NetworkPeer) -> Json:
    selectors = {"namespaceSelector": peer.namespace_labels, "podSelector": peer.pod_labels}
    # Selecting nothing in particular selects all; that is not the same as not being there.
    return {
        name: {"matchLabels": dict(wanted)} if wanted else {}
        for name, wanted in selectors.items()
        if wanted is not None
    }
