"""One reconciler per kind: observe, decide, apply, write the status. Each works from the present state only."""
