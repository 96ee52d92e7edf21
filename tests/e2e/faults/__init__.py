"""Faults, injected one by one into the real cluster: what each is, and what the status has to say of it."""
