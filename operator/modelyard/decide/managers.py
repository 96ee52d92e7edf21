"""Who owns a field of an object, from `metadata.managedFields`.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

UNKNOWN = "unknown"


def owners_of(managed_fields: Iterable[dict[str, Any]], path: Sequence[str]) -> tuple[str, ...]:
    """Return the field managers that own the field at `path` (map keys, such as `("spec", "stages", "production")`).

    The one that wrote last comes first.
    """
    owning = [entry for entry in managed_fields if not entry.get("subresource") and _has(entry, path)]
    return tuple(dict.fromkeys(_manager(entry) for entry in sorted(owning, key=_time, reverse=True)))


def owner_of(managed_fields: Iterable[dict[str, Any]], path: Sequence[str]) -> str:
    """Return the field manager that wrote the field at `path` last; `unknown` where nobody owns it."""
    return next(iter(owners_of(managed_fields, path)), UNKNOWN)


def last_editor(managed_fields: Iterable[dict[str, Any]]) -> str:
    """Return the field manager that wrote the object (not a subresource of it) last."""
    entries = [entry for entry in managed_fields if not entry.get("subresource")]
    return _manager(max(entries, key=_time)) if entries else UNKNOWN


def last_edit(managed_fields: Iterable[dict[str, Any]]) -> str | None:
    """Return when the object (not a subresource of it) was written last, RFC 3339, to the second."""
    return max((_time(entry) for entry in managed_fields if not entry.get("subresource")), default=None) or None


def _has(entry: dict[str, Any], path: Sequence[str]) -> bool:
    node: Any = entry.get("fieldsV1") or {}
    for step in path:
        node = node.get(f"f:{step}")
        if node is None:
            return False
    return True


def _time(entry: dict[str, Any]) -> str:
    return str(entry.get("time") or "")


def _manager(entry: dict[str, Any]) -> str:
    return str(entry.get("manager") or UNKNOWN)
