"""A client that answers from memory where it can."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

from modelyard.cluster.cache import Name, ObjectCache
from modelyard.cluster.client import Client, Conflict, NotFound
from modelyard.cluster.resources import INGRESS_CLASSES, SECRETS, ResourceType

Json = dict[str, Any]

SECONDS = {SECRETS: 300.0, INGRESS_CLASSES: 60.0}
"""For how long an object of a kind that is not watched is taken for what it was when it was read."""

STRANGER_SECONDS = 60.0
"""For how long an object is taken for what it was that has the name of one of ours but not its labels."""

NEVER = "1"
"""A resource version that no object has any more: with it, a server-side apply creates the object or is a Conflict."""


class CachedClient(Client):
    """Has the methods of `Client`; reads of kinds that the cache holds cost no request, and see one's own writes.

    An object that the cache does not hold is only ever created, never taken over: `apply` raises `Conflict` where one
    of that name exists, which is what the next `find` gives. After any `Conflict` the object is read anew.
    """

    def __init__(self, live: Client, cache: ObjectCache, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._live = live
        self._cache = cache
        self._clock = clock
        self._aside: dict[tuple[ResourceType, Name], tuple[float, Json]] = {}
        """Objects that the cache does not hold, each with the time until which it is believed."""

    def get(self, resource: ResourceType, namespace: str | None, name: str) -> Json:
        """Return the object. Raises `NotFound`."""
        key = resource, (namespace or "", name)
        found = self._beside(*key)
        if found is not None:
            return found
        if resource in SECONDS:
            # What is absent is asked for again: it may be there, and somebody else's, in a moment.
            found = self._live.get(resource, namespace, name)
            self._keep_aside(key, found, SECONDS[resource])
            return found
        if not self._cache.kind(resource):
            return self._live.get(resource, namespace, name)
        found = self._cache.get(resource, key[1])
        if found is None:
            raise NotFound(404, "NotFound", f"{resource.plural} {name!r} not found")
        return found

    def list_all(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        page_size: int = 500,
    ) -> list[Json]:
        """Return the objects of a kind: from memory where all that is asked for is there."""
        wanted = dict(pair.split("=", 1) for pair in labels.split(",")) if labels else {}
        kind = self._cache.kind(resource)
        if kind is None or fields or (kind.owner_label and kind.owner_label not in wanted):
            return self._live.list_all(resource, namespace, labels, fields=fields, page_size=page_size)
        return self._cache.select(resource, namespace, wanted)

    def each(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Json]:
        """Give the objects that `list_all` returns."""
        return iter(self.list_all(resource, namespace, labels, fields=fields, page_size=page_size))

    def list_names(self, resource: ResourceType, namespace: str | None = None, labels: str | None = None) -> set[Name]:
        """Ask the API server."""
        return self._live.list_names(resource, namespace, labels)

    def create(self, resource: ResourceType, namespace: str, body: Json, field_manager: str) -> Json:
        """Create the object."""
        name = namespace, body["metadata"]["name"]
        return self._written(resource, name, lambda: self._live.create(resource, namespace, body, field_manager))

    def apply(self, resource: ResourceType, body: Json, field_manager: str, *, subresource: str | None = None) -> Json:
        """Server-side apply, with force, of what is known to be there; what is not is created."""
        metadata = body["metadata"]
        name = metadata["namespace"], metadata["name"]
        new = not subresource and "resourceVersion" not in metadata and self._is_unknown(resource, name)
        sent = {**body, "metadata": {**metadata, "resourceVersion": NEVER}} if new else body
        return self._written(
            resource, name, lambda: self._live.apply(resource, sent, field_manager, subresource=subresource)
        )

    def merge_patch(self, resource: ResourceType, namespace: str, name: str, patch: Json, field_manager: str) -> Json:
        """JSON merge patch."""
        return self._written(
            resource, (namespace, name), lambda: self._live.merge_patch(resource, namespace, name, patch, field_manager)
        )

    def replace_status(self, resource: ResourceType, body: Json, field_manager: str) -> Json:
        """Replace the status of the object as it was read."""
        name = body["metadata"]["namespace"], body["metadata"]["name"]
        return self._written(resource, name, lambda: self._live.replace_status(resource, body, field_manager))

    def delete(self, resource: ResourceType, namespace: str, name: str, *, uid: str | None = None) -> Json | None:
        """Delete in the background."""
        left = self._live.delete(resource, namespace, name, uid=uid)
        self._aside.pop((resource, (namespace, name)), None)
        if self._cache.kind(resource):
            if left is None:
                self._cache.deleted(resource, (namespace, name), uid)
            else:
                self._note(resource, left)
        return left

    def read(
        self, path: str, query: list[tuple[str, str]] | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        """Ask the API server."""
        return self._live.read(path, query, headers)

    def user_info(self) -> Json:
        """Ask the API server."""
        return self._live.user_info()

    def _is_unknown(self, resource: ResourceType, name: Name) -> bool:
        if not self._cache.kind(resource):
            return False
        return self._beside(resource, name) is None and self._cache.get(resource, name) is None

    def _written(self, resource: ResourceType, name: Name, write: Callable[[], Json]) -> Json:
        try:
            body = write()
        except Conflict:
            if self._cache.kind(resource):
                # What was decided on was not what is: the next look must not find the same again.
                body_now = _found(lambda: self._live.get(resource, name[0], name[1]))
                if body_now is None:
                    self._cache.deleted(resource, name)
                    self._aside.pop((resource, name), None)
                else:
                    self._note(resource, body_now)
            raise
        self._note(resource, body)
        return body

    def _note(self, resource: ResourceType, body: Json) -> None:
        """Keep what the API server has answered."""
        metadata = body["metadata"]
        key = resource, (metadata.get("namespace", ""), metadata["name"])
        kind = self._cache.kind(resource)
        if kind is not None and kind.holds(body):
            self._cache.put(resource, body)
            self._aside.pop(key, None)
        elif kind is not None:
            self._keep_aside(key, body, STRANGER_SECONDS)
        elif resource in SECONDS:
            self._keep_aside(key, body, SECONDS[resource])

    def _beside(self, resource: ResourceType, name: Name) -> Json | None:
        until, body = self._aside.get((resource, name), (0.0, None))
        return copy.deepcopy(body) if until > self._clock() else None

    def _keep_aside(self, key: tuple[ResourceType, Name], body: Json, seconds: float) -> None:
        now = self._clock()
        for old in [old for old, (until, _) in self._aside.copy().items() if until <= now]:
            self._aside.pop(old, None)
        self._aside[key] = now + seconds, copy.deepcopy(body)


def _found(read: Callable[[], Json]) -> Json | None:
    try:
        return read()
    except NotFound:
        return None
