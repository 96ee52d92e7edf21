"""Arbitrary bytes, and right requests with a few things wrong: 4xx in the protocol's form, or 200; never 500."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard_serving.errors import RequestError
from modelyard_serving.model import Model
from modelyard_serving.protocol.dialect import HttpRequest
from tests.unit.serving import harness
from tests.unit.serving.hostile.bodies import RIGHT

KEYS = {"mlflow": {"error_code", "message"}, "v1": {"error"}, "v2": {"error"}}
MAX_ERROR_BYTES = 6 * 4200
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def served(saved_model: Callable[[str], Path]) -> Model:
    return harness.model(saved_model("labels_text"))


def check(served: Model, protocol: str, request: HttpRequest) -> None:
    """Whatever else is raised would be a 500."""
    dialect = served.dialects[protocol]
    refusal: RequestError | None = None
    try:
        dialect.predictions(served.answer(protocol, request).body)
    except RequestError as error:
        refusal = error
    if refusal is not None:
        assert 400 <= refusal.status < 500, refusal.message
        reply = dialect.refuse(refusal)
        assert set(json.loads(reply.body)) == KEYS[protocol]
        assert len(reply.body) < MAX_ERROR_BYTES


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at that place."""
    if not path:
        return value
    copied = dict(document) if isinstance(document, dict) else list(document)
    copied[path[0]] = put(copied[path[0]], path[1:], value)
    return copied


@pytest.mark.parametrize("protocol", RIGHT)
@given(body=st.binary(max_size=300), headers=st.dictionaries(st.binary(max_size=10), st.binary(max_size=20)))
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_arbitrary_bytes_are_refused(protocol: str, served: Model, body: bytes, headers: dict[bytes, bytes]) -> None:
    check(served, protocol, HttpRequest(body, {b"content-type": b"application/json", **headers}))
    check(served, protocol, HttpRequest(body, {b"content-type": b"text/csv"}))
    check(served, protocol, HttpRequest(body, {b"inference-header-content-length": str(len(body) // 2).encode()}))


@pytest.mark.parametrize("protocol", RIGHT)
@given(data=st.data())
@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_requests_with_anything_wrong_are_answered(protocol: str, served: Model, data: st.DataObject) -> None:
    document: Any = RIGHT[protocol]
    for _ in range(data.draw(st.integers(1, 3))):
        document = put(document, data.draw(st.sampled_from(places(document))), data.draw(JSON))
    body = json.dumps(document).encode()
    if data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(body)))
        body = body[:position] + data.draw(st.binary(max_size=3)) + body[position + 1 :]
    check(served, protocol, HttpRequest(body, {b"content-type": b"application/json"}))
