"""What protocols other than MLflow's have in common: requests are a JSON object, errors a text."""

from __future__ import annotations

import json
from typing import Any

import orjson

from modelyard_serving.call import Reply
from modelyard_serving.errors import RequestError

_ECHO = 200
_MAX_MESSAGE_CHARS = 10_000
"""A message may quote the request, which may be long."""


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; NaN and Infinity are numbers, as Python's clients write them.

    Raises RequestError (400 BAD_REQUEST).
    """
    try:
        document = orjson.loads(body)
    except ValueError:
        document = _read_leniently(body)
    if not isinstance(document, dict):
        raise RequestError(f"The request must be a JSON object, not {kind_of(document)}.")
    return document


def _read_leniently(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # ValueError: JSONDecodeError and UnicodeDecodeError
        echo = repr(body) if len(body) <= _ECHO else f"{body[:_ECHO]!r}…"
        raise RequestError(f"The request is no JSON: {str(error)[:_ECHO]}. Received: {echo}") from error


def write_error(error: RequestError) -> Reply:
    """`{"error": …}`, as V1 and V2 have it."""
    return Reply(json.dumps({"error": error.message[:_MAX_MESSAGE_CHARS]}).encode(), status=error.status)


def kind_of(value: Any) -> str:
    """What a JSON value is, for messages."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")
