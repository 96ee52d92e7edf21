"""Thin kopf handlers: events become keys of a work queue, and the queue calls the reconcilers."""
