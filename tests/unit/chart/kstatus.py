"""How kstatus judges a custom resource: the algorithm that Flux, Helm's --wait and `kapp` go by.

https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus describes it, and status/status.go and
status/generic.go there are it: deletion, the generation, the conditions Reconciling and Stalled, then Ready.
"""

from __future__ import annotations

from typing import Any

IN_PROGRESS = "InProgress"
FAILED = "Failed"
CURRENT = "Current"
TERMINATING = "Terminating"


def kstatus(resource: dict[str, Any]) -> str:
    """Return the status of an object of a kind that kstatus has no rule of its own for."""
    metadata, status = resource["metadata"], resource.get("status", {})
    if metadata.get("deletionTimestamp"):
        return TERMINATING
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation"):
        return IN_PROGRESS
    conditions = status.get("conditions") or []
    # In the order in which they stand: the first of the two that is True decides.
    for condition in conditions:
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return IN_PROGRESS
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return FAILED
    ready = next((condition for condition in conditions if condition["type"] == "Ready"), None)
    return CURRENT if ready is None or ready["status"] == "True" else IN_PROGRESS
