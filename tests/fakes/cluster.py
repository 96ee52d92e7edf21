"""An API server in memory, with the semantics that writers rely on.

Objects are plain dictionaries; `resourceVersion` moves with every write that changes something, `generation` with every
change outside metadata and status, and `managedFields` say who wrote which field. It knows no schemas.
"""

from __future__ import annotations

import itertools
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from modelyard.cluster.client import Client, Conflict, NotFound
from modelyard.cluster.resources import ResourceType

Json = dict[str, Any]
Path = tuple[str, ...]
T = TypeVar("T")

_WRITES = ("POST", "PUT", "PATCH", "DELETE")


class FakeClient(Client):
    """Has the methods of `cluster.client.Client`. `requests` holds (method, path) of all that was asked for.

    `on_request`, if given, is called with (method, path) before a request does anything; what it raises is passed on.
    """

    def __init__(
        self,
        on_request: Callable[[str, str], None] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.requests: list[tuple[str, str]] = []
        self._on_request = on_request
        self._clock = clock
        self.answers: dict[str, bytes] = {}
        """What `read` gives, by path: logs, for one."""
        self._objects: dict[str, Json] = {}
        # No object of a real one has version 1 either: that is from before the first write.
        self._versions = itertools.count(2)
        self._lock = threading.RLock()

    @property
    def writes(self) -> list[tuple[str, str]]:
        """The requests that were not reads."""
        return [request for request in self.requests if request[0] in _WRITES]

    def read(
        self,
        path: str,
        query: list[tuple[str, str]] | None = None,  # noqa: ARG002 - what is there is given whole
        headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> bytes:
        self._note("GET", path)
        if path not in self.answers:
            raise NotFound(404, "NotFound", f"{path} not found")
        return self.answers[path]

    def get(self, resource: ResourceType, namespace: str | None, name: str) -> Json:
        path = resource.path(namespace, name)
        self._note("GET", path)
        with self._lock:
            return _copied(self._existing(path))

    def list_all(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        page_size: int = 500,  # noqa: ARG002 - one page holds it all
    ) -> list[Json]:
        self._note("GET", resource.path(namespace))
        matches, chosen = _selector(labels), _selector(fields)
        collection = resource.path(None).rsplit("/", 1)[0]
        with self._lock:
            return [
                _copied(body)
                for path, body in sorted(self._objects.items())
                if path.startswith(f"{collection}/namespaces/")
                and path.split("/")[-2] == resource.plural
                and (namespace is None or body["metadata"]["namespace"] == namespace)
                and matches(body["metadata"].get("labels", {}))
                and chosen(body)
            ]

    def each(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Json]:
        return iter(self.list_all(resource, namespace, labels, fields=fields, page_size=page_size))

    def list_names(
        self, resource: ResourceType, namespace: str | None = None, labels: str | None = None
    ) -> set[tuple[str, str]]:
        found = self.list_all(resource, namespace, labels)
        return {(body["metadata"]["namespace"], body["metadata"]["name"]) for body in found}

    def create(self, resource: ResourceType, namespace: str, body: Json, field_manager: str) -> Json:
        self._note("POST", resource.path(namespace))
        path = resource.path(namespace, body["metadata"]["name"])
        with self._lock:
            if path in self._objects:
                raise Conflict(409, "AlreadyExists", f"{path} already exists")
            created = _copied(body)
            created.pop("status", None)
            created["metadata"] |= {
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "generation": 0,
                "creationTimestamp": self._now(),
            }
            return self._store(path, {"metadata": {}}, created, field_manager, bump=True)

    def apply(self, resource: ResourceType, body: Json, field_manager: str, *, subresource: str | None = None) -> Json:
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        self._note("PATCH", f"{path}/{subresource}" if subresource else path)
        with self._lock:
            if path not in self._objects:
                return self.create(resource, metadata["namespace"], body, field_manager)
            before = self._objects[path]
            self._check_version(path, before, body)
            if subresource:
                after = {**_copied(before), "status": _copied(body["status"])}
            else:
                self._check_version(path, before, body)
                kept = _without(before, self._left_out(before, body, field_manager))
                after = _merged(kept, {key: value for key, value in body.items() if key != "status"})
            return self._store(path, before, after, field_manager, bump=not subresource)

    @staticmethod
    def _left_out(before: Json, body: Json, manager: str) -> set[Path]:
        """The fields that only this manager had, and no longer asks for."""
        owned: dict[bool, set[Path]] = {True: set(), False: set()}
        for entry in before["metadata"].get("managedFields", []):
            mine = entry["manager"] == manager and not entry.get("subresource")
            owned[mine] |= set(_unfold(entry["fieldsV1"]))
        asked = {path for path, _ in _leaves(body)}
        return owned[True] - owned[False] - asked

    def merge_patch(self, resource: ResourceType, namespace: str, name: str, patch: Json, field_manager: str) -> Json:
        path = resource.path(namespace, name)
        self._note("PATCH", path)
        with self._lock:
            before = self._existing(path)
            self._check_version(path, before, patch)
            patch = {key: value for key, value in patch.items() if key != "status"}
            return self._store(path, before, _merged(before, patch), field_manager, bump=True)

    def replace_status(self, resource: ResourceType, body: Json, field_manager: str) -> Json:
        path = resource.path(body["metadata"]["namespace"], body["metadata"]["name"])
        self._note("PUT", f"{path}/status")
        with self._lock:
            before = self._existing(path)
            self._check_version(path, before, body)
            after = {**_copied(before), "status": _copied(body.get("status", {}))}
            return self._store(path, before, after, field_manager, bump=False)

    def delete(self, resource: ResourceType, namespace: str, name: str, *, uid: str | None = None) -> None:
        path = resource.path(namespace, name)
        self._note("DELETE", path)
        with self._lock:
            if path in self._objects and uid in (None, self._objects[path]["metadata"]["uid"]):
                del self._objects[path]

    def _note(self, method: str, path: str) -> None:
        self.requests.append((method, path))
        if self._on_request:
            self._on_request(method, path)

    def _existing(self, path: str) -> Json:
        try:
            return self._objects[path]
        except KeyError:
            raise NotFound(404, "NotFound", f"{path} not found") from None

    @staticmethod
    def _check_version(path: str, before: Json, body: Json) -> None:
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted and wanted != before["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", f"{path} has been modified; apply your changes to the latest version")

    def _store(self, path: str, before: Json, after: Json, manager: str, *, bump: bool) -> Json:
        """Keep `after`; a write that changes nothing changes no version."""
        if _without_versions(before) == _without_versions(after) and path in self._objects:
            return _copied(before)
        metadata = after["metadata"]
        if bump and _spec(before) != _spec(after):
            metadata["generation"] = metadata.get("generation", 0) + 1
        changed = _leaves(after) ^ _leaves(before)
        metadata["managedFields"] = self._managed(metadata.get("managedFields", []), changed, after, manager, bump)
        metadata["resourceVersion"] = str(next(self._versions))
        self._objects[path] = after
        return _copied(after)

    def _managed(
        self, entries: list[Json], changed: set[tuple[Path, str]], after: Json, manager: str, bump: bool
    ) -> list[Json]:
        subresource = None if bump else "status"
        paths = {path for path, _ in changed}
        present = {path for path, _ in _leaves(after)}
        result, mine = [], set(paths & present)
        for entry in entries:
            owned = set(_unfold(entry["fieldsV1"]))
            if entry["manager"] == manager and entry.get("subresource") == subresource:
                mine |= owned & present
            elif kept := (owned - paths) & present:
                result.append({**entry, "fieldsV1": _fold(kept)})
        if mine:
            entry = {"manager": manager, "operation": "Update", "time": self._now(), "fieldsV1": _fold(mine)}
            result.append({**entry, "subresource": subresource} if subresource else entry)
        return result

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def _selector(labels: str | None) -> Callable[[Json], bool]:
    """Return what tells whether labels match a selector of equalities and existences."""
    wanted = [pair.partition("=") for pair in labels.split(",")] if labels else []
    return lambda has: all(key in has and (not equals or has[key] == value) for key, equals, value in wanted)


def _copied(body: T) -> T:
    # Several times as fast as copy.deepcopy.
    copied: T = pickle.loads(pickle.dumps(body))
    return copied


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return _copied(patch)
    result = _copied(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _without(body: Json, paths: set[Path]) -> Json:
    result = _copied(body)
    for path in paths:
        node = result
        for step in path[:-1]:
            node = node.get(step, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node.pop(path[-1], None)
    return result


def _spec(body: Json) -> Json:
    return {key: value for key, value in body.items() if key not in ("metadata", "status", "apiVersion", "kind")}


def _without_versions(body: Json) -> Json:
    dropped = ("resourceVersion", "managedFields")
    return {**body, "metadata": {key: value for key, value in body["metadata"].items() if key not in dropped}}


def _leaves(body: Json) -> set[tuple[Path, str]]:
    """The fields that somebody can own: (path, value as text)."""
    owned = {key: value for key, value in body.items() if key not in ("metadata", "apiVersion", "kind")}
    owned["metadata"] = {
        key: value for key, value in body.get("metadata", {}).items() if key in ("annotations", "labels")
    }
    return set(_walk(owned, ()))


def _walk(node: Json, path: Path) -> Iterator[tuple[Path, str]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _walk(value, (*path, key))
        else:
            yield (*path, key), repr(value)


def _fold(paths: set[Path]) -> Json:
    tree: Json = {}
    for path in paths:
        node = tree
        for step in path:
            node = node.setdefault(f"f:{step}", {})
    return tree


def _unfold(tree: Json, path: Path = ()) -> Iterator[Path]:
    for key, value in tree.items():
        if value:
            yield from _unfold(value, (*path, key[2:]))
        else:
            yield (*path, key[2:])
