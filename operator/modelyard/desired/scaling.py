"""How many pods a model has, and how many may go at a time."""

from __future__ import annotations

from modelyard.api.modeldeployment import AutoscalingSpec, ModelDeployment
from modelyard.api.names import DEPLOYMENT_LABEL
from modelyard.api.serving import pod_labels
from modelyard.desired.common import Json, metadata
from modelyard.desired.pods import COMPONENT


def autoscaler(owner: ModelDeployment, spec: AutoscalingSpec, deployment_name: str) -> Json:
    """Return the HorizontalPodAutoscaler of the served version's Deployment."""
    targets = {"cpu": spec.target_cpu, "memory": spec.target_memory}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(owner),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment_name},
            "minReplicas": spec.min_replicas,
            "maxReplicas": spec.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}},
                }
                for name, percent in targets.items()
                if percent is not None
            ],
        },
    }


def disruption_budget(owner: ModelDeployment, stable_revision: str) -> Json | None:
    """Return the PodDisruptionBudget of the served version; None where evictions are not to be held up.

    With one pod, a budget could only keep nodes from being drained.
    """
    rest = owner.spec.rest
    pods = rest.autoscaling.min_replicas if rest.autoscaling else rest.replicas
    if rest.disruption_budget:
        bounds = rest.disruption_budget.to_dict()
    elif pods >= 2:
        bounds = {"maxUnavailable": 1}
    else:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(owner),
        "spec": {
            **bounds,
            "selector": {"matchLabels": pod_labels(owner.metadata.name, stable_revision)},
            # Pods that answer nothing are no reason to keep a node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _metadata(owner: ModelDeployment) -> Json:
    return metadata(owner, owner.metadata.name, COMPONENT, {DEPLOYMENT_LABEL: owner.metadata.name})
