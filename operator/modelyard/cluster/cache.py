"""What the API server holds of some kinds, in memory: packed, found by name and by owner, never going back in time.

The cache knows nothing of requests: what fills it is `feed`, what reads it `cached`. Resource versions of one kind are
compared as numbers: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import json
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.cluster.resources import ResourceType

Json = dict[str, Any]
Name = tuple[str, str]
"""Namespace and name of an object."""

_GRAVES = 4096
"""How many deleted objects are remembered; events of one come within seconds of each other."""


@dataclass(frozen=True)
class CachedKind:
    """One kind, and which of its objects are held."""

    resource: ResourceType
    owner_label: str = ""
    """Names an object's owner: whoever lists asks for one owner's objects. Empty where objects have no owner."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Besides the owner's, what the objects have: others are not held."""

    whole: bool = False
    """Whether somebody reads `metadata.managedFields`, which are a third of an object."""

    @property
    def selector(self) -> str:
        """The label selector of what is held; empty for all."""
        return ",".join([*(f"{key}={value}" for key, value in self.labels.items()), *filter(None, [self.owner_label])])

    def holds(self, body: Json) -> bool:
        """Whether an object is one of those that are held."""
        has = body["metadata"].get("labels") or {}
        return self.labels.items() <= has.items() and (not self.owner_label or self.owner_label in has)


@dataclass(frozen=True, slots=True)
class _Entry:
    uid: str
    version: int
    owner: str
    packed: bytes


class _Objects:
    """The objects of one kind."""

    def __init__(self, kind: CachedKind) -> None:
        self.kind = kind
        self.complete = False
        self.entries: dict[Name, _Entry] = {}
        self.owned: dict[Name, set[str]] = defaultdict(set)
        """The names of an owner's objects, by the namespace and name of the owner."""
        self.graves: dict[str, float] = {}
        """Up to which resource version an object that is gone, by its uid, stays gone."""

    def bury(self, uid: str, version: float) -> None:
        self.graves.pop(uid, None)
        self.graves[uid] = version
        while len(self.graves) > _GRAVES:
            del self.graves[next(iter(self.graves))]

    def drop(self, name: Name) -> None:
        entry = self.entries.pop(name, None)
        if entry is None:
            return
        names = self.owned[name[0], entry.owner]
        names.discard(name[1])
        if not names:
            del self.owned[name[0], entry.owner]


class ObjectCache:
    """Objects as they were seen last. May be used from several threads."""

    def __init__(self, kinds: Iterable[CachedKind]) -> None:
        self._objects = {kind.resource: _Objects(kind) for kind in kinds}
        self._lock = threading.Lock()

    @property
    def kinds(self) -> list[CachedKind]:
        """What is held."""
        return [objects.kind for objects in self._objects.values()]

    def kind(self, resource: ResourceType) -> CachedKind | None:
        """Return what is held of a kind whose objects are all there; None where the cache does not answer for it."""
        objects = self._objects.get(resource)
        return objects.kind if objects is not None and objects.complete else None

    def complete(self, resource: ResourceType) -> None:
        """Say that all objects of a kind are there now."""
        self._objects[resource].complete = True

    def put(self, resource: ResourceType, body: Json) -> bool:
        """Keep an object, unless it is older than what is known; return whether that was news."""
        objects = self._objects[resource]
        metadata = body["metadata"]
        name = metadata.get("namespace", ""), metadata["name"]
        uid, version = metadata["uid"], int(metadata["resourceVersion"])
        owner = (metadata.get("labels") or {}).get(objects.kind.owner_label, "")
        if not self._is_news(objects, name, uid, version):
            return False
        packed = _packed(body, whole=objects.kind.whole)
        with self._lock:
            # Others may have been faster while this was packed.
            if not self._is_news(objects, name, uid, version):
                return False
            objects.drop(name)
            objects.entries[name] = _Entry(uid, version, owner, packed)
            objects.owned[name[0], owner].add(name[1])
        return True

    @staticmethod
    def _is_news(objects: _Objects, name: Name, uid: str, version: int) -> bool:
        known = objects.entries.get(name)
        return (known is None or version > known.version) and version > objects.graves.get(uid, 0)

    def remove(self, resource: ResourceType, body: Json) -> bool:
        """Forget an object that went with this state of it; return whether that was news."""
        metadata = body["metadata"]
        name = metadata.get("namespace", ""), metadata["name"]
        version = int(metadata["resourceVersion"])
        objects = self._objects[resource]
        with self._lock:
            # An object that lost the labels by which it is held is gone for us; it may come back with a later version.
            objects.bury(metadata["uid"], max(version, objects.graves.get(metadata["uid"], 0)))
            known = objects.entries.get(name)
            if known is None or known.uid != metadata["uid"] or known.version > version:
                return False
            objects.drop(name)
        return True

    def deleted(self, resource: ResourceType, name: Name, uid: str | None = None) -> None:
        """Forget an object that is known not to exist any more; with `uid`, only if it is that one."""
        objects = self._objects[resource]
        with self._lock:
            known = objects.entries.get(name)
            uid = uid or (known.uid if known else None)
            if uid is None:
                return
            objects.bury(uid, float("inf"))
            if known is not None and known.uid == uid:
                objects.drop(name)

    def vanished(
        self, resource: ResourceType, before: Mapping[Name, int], present: Iterable[Name]
    ) -> list[tuple[Name, str]]:
        """Forget what was there `before` a list was asked for and is not in it; return the names and the owners."""
        objects, gone = self._objects[resource], []
        for name in before.keys() - set(present):
            with self._lock:
                known = objects.entries.get(name)
                if known is None or known.version != before[name]:
                    continue
                objects.bury(known.uid, known.version)
                objects.drop(name)
            gone.append((name, known.owner))
        return gone

    def versions(self, resource: ResourceType) -> dict[Name, int]:
        """Return the resource version of every object."""
        with self._lock:
            return {name: entry.version for name, entry in self._objects[resource].entries.items()}

    def get(self, resource: ResourceType, name: Name) -> Json | None:
        """Return an object; it is the caller's own."""
        entry = self._objects[resource].entries.get(name)
        return _unpacked(entry.packed) if entry else None

    def select(self, resource: ResourceType, namespace: str | None, labels: Mapping[str, str]) -> list[Json]:
        """Return the objects with these labels, of one namespace or of all, by name."""
        objects = self._objects[resource]
        owner = labels.get(objects.kind.owner_label) if objects.kind.owner_label else None
        with self._lock:
            if owner is not None and namespace is not None:
                names = [(namespace, name) for name in objects.owned.get((namespace, owner), ())]
            else:
                names = [name for name in objects.entries if namespace in (None, name[0])]
            packed = [objects.entries[name].packed for name in sorted(names)]
        bodies = map(_unpacked, packed)
        return [body for body in bodies if labels.items() <= (body["metadata"].get("labels") or {}).items()]


def _packed(body: Json, *, whole: bool) -> bytes:
    if not whole and "managedFields" in body["metadata"]:
        metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
        body = {**body, "metadata": metadata}
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 1)


def _unpacked(packed: bytes) -> Json:
    body: Json = json.loads(zlib.decompress(packed))
    return body
