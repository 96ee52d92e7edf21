"""Compare, then write: an object that is as it should be costs no request."""

from __future__ import annotations

from typing import Any

from modelyard.api.common import Resource, StatusModel
from modelyard.api.names import API_VERSION, FIELD_MANAGER
from modelyard.cluster.client import Client
from modelyard.cluster.resources import BY_KIND, of_kind
from modelyard.decide.drift import is_current, stamped

Json = dict[str, Any]


def ensure(client: Client, manifest: Json, live: Json | None, *, unchanged: bool = False) -> Json:
    """Apply `manifest` where `live`, the object as it was read, is not what it says; return the object.

    With `unchanged` it is applied to that very object only: `Conflict` is raised if it has changed since.
    Raises `ApiError` where the API server refuses it.
    """
    wanted = stamped(manifest)
    if live is not None and is_current(wanted, live):
        return live
    if live is not None and unchanged:
        seen = {"resourceVersion": live["metadata"]["resourceVersion"]}
        wanted = {**wanted, "metadata": {**wanted["metadata"], **seen}}
    return client.apply(BY_KIND[manifest["kind"]], wanted, FIELD_MANAGER)


def ensure_status(client: Client, owner: Resource, status: StatusModel, before: StatusModel) -> bool:
    """Apply `status` where it differs from `before`, the one that was read; return whether it was written."""
    if status == before:
        return False
    body = {
        "apiVersion": API_VERSION,
        "kind": owner.kind_name,
        "metadata": {"name": owner.metadata.name, "namespace": owner.metadata.namespace},
        "status": status.to_dict(),
    }
    client.apply(of_kind(type(owner)), body, FIELD_MANAGER, subresource="status")
    return True
