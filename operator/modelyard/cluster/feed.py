"""Fills the cache, by lists and from the watches' events, and says whose objects have changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api import ModelDeployment, RegisteredModel
from modelyard.api.names import DEPLOYMENT_LABEL, MANAGED_BY
from modelyard.cluster.cache import CachedKind, Name, ObjectCache
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.resources import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESSES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SERVICES,
    ResourceType,
    of_kind,
)

Json = dict[str, Any]
log = logging.getLogger(__name__)

WATCHED = (DEPLOYMENTS, SERVICES, INGRESSES, HTTP_ROUTES, PODS)
"""What is made for ModelDeployments and seen as soon as it changes."""

LISTED = (HORIZONTAL_POD_AUTOSCALERS, POD_DISRUPTION_BUDGETS, NETWORK_POLICIES)
"""What is looked at from time to time only: their statuses change all the time, and nothing waits for them."""

_OWN = (ModelDeployment, RegisteredModel)
_LABELS = {MANAGED_BY: "modelyard"}
_FORBIDDEN = 403


@dataclass(frozen=True)
class Changed:
    """An object that others have changed or removed."""

    owner_label: str
    namespace: str
    owner: str


def kinds() -> list[CachedKind]:
    """Return what reconciling a ModelDeployment reads."""
    return [
        *(CachedKind(of_kind(kind), whole=True) for kind in _OWN),
        *(CachedKind(resource, DEPLOYMENT_LABEL, _LABELS) for resource in (*WATCHED, *LISTED)),
    ]


class Feed:
    """Keeps a cache up to date, for some namespaces or (if none are given) for all. Call it in a thread."""

    def __init__(self, live: Client, cache: ObjectCache, namespaces: Sequence[str] = ()) -> None:
        self._live = live
        self._cache = cache
        self._namespaces: Sequence[str | None] = namespaces or (None,)

    def fill(self) -> None:
        """List everything once. Raises `ApiError` where the API server does not answer."""
        for kind in self._cache.kinds:
            try:
                for body in self._list(kind):
                    self._cache.put(kind.resource, body)
            except ApiError as error:
                if error.code != _FORBIDDEN:
                    raise
                log.warning("%s are read one by one: %s", kind.resource.plural, error)
                continue
            self._cache.complete(kind.resource)

    def refresh(self, resource: ResourceType) -> list[Changed]:
        """List the objects of a kind that is not watched; return those that differ in more than their figures."""
        kind = self._cache.kind(resource)
        if kind is None:
            return []
        before, changed = self._cache.versions(resource), []
        present: set[Name] = set()
        for body in self._list(kind):
            metadata = body["metadata"]
            name = metadata["namespace"], metadata["name"]
            present.add(name)
            if before.get(name) == int(metadata["resourceVersion"]):
                continue
            known = self._cache.get(resource, name)
            if self._cache.put(resource, body) and (known is None or _asked(known) != _asked(body)):
                changed.append(Changed(kind.owner_label, name[0], metadata["labels"][kind.owner_label]))
        return changed + self._vanished(kind, before, present)

    def check(self, resource: ResourceType) -> list[Changed]:
        """Find out what of a watched kind is gone without that anybody said so: a watch that starts anew does not."""
        kind = self._cache.kind(resource)
        if kind is None:
            return []
        before = self._cache.versions(resource)
        if not before:
            return []
        present: set[Name] = set()
        for namespace in self._namespaces:
            present |= self._live.list_names(resource, namespace, kind.selector or None)
        return self._vanished(kind, before, present)

    def _vanished(self, kind: CachedKind, before: dict[Name, int], present: set[Name]) -> list[Changed]:
        gone = self._cache.vanished(kind.resource, before, present)
        return [Changed(kind.owner_label, name[0], owner) for name, owner in gone]

    def _list(self, kind: CachedKind) -> Iterator[Json]:
        for namespace in self._namespaces:
            try:
                yield from self._live.each(kind.resource, namespace, kind.selector or None)
            except NotFound:
                # Not every cluster has every kind: there is none of it then.
                return


def _asked(body: Json) -> Json:
    """Return what of an object somebody asked for, and how it does: an autoscaler's figures change all the time."""
    conditions = body.get("status", {}).get("conditions") or []
    metadata = body["metadata"]
    told = {key: metadata.get(key) for key in ("labels", "annotations", "ownerReferences", "deletionTimestamp")}
    told["conditions"] = [(each.get("type"), each.get("status"), each.get("reason")) for each in conditions]
    return {**{key: value for key, value in body.items() if key not in ("metadata", "status")}, **told}
