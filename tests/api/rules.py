"""How the tests of the CRDs' rules are written down: a change of a valid spec, and the refusal that it gets."""

from __future__ import annotations

from typing import Any

import pytest

Json = dict[str, Any]


def merged(base: Json, change: Json) -> Json:
    """Return `base` with `change` merged into it; None removes a key."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def case(kind: str, change: Json, refusal: str = "", *, name: str = "x", id: str) -> Any:  # noqa: A002
    return pytest.param(kind, change, refusal, name, id=f"{kind}: {id}")


def check(verdict: str, refusal: str) -> None:
    """Assert that what the API server said holds the refusal, or is nothing where none is expected."""
    if refusal:
        assert refusal in verdict
    else:
        assert verdict == ""
