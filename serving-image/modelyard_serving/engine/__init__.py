"""Executes calls on a loaded model: at once or in threads, alone or in batches, never more than it can hold."""
