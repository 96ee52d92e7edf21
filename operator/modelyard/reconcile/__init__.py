"""One `reconcile` per kind: observe, decide, apply, write the status. Level-triggered: each works from the present state only."""
