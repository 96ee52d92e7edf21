"""Tells the world outside of the cluster what has happened: CloudEvents, signed, over HTTP."""
