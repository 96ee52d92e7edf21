"""The endpoints below /modelyard, for the operator and the other pods of the ModelDeployment."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response

from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.recent import Recent, write_page
from modelyard_serving.reference import Address
from modelyard_serving.replay import Replay
from modelyard_serving.state import State

MAX_BODY_BYTES = 64 * 1024
MAX_REFERENCES = 256
MAX_LEASE_SECONDS = 300.0
MAX_PAGE = 1000


def add_routes(app: FastAPI, state: State, recent: Recent, replay: Replay) -> None:
    """Add the endpoints; without a token in the configuration there are none."""
    if state.config.control_token is None:
        return
    token = state.config.control_token.encode()

    @app.get("/modelyard/recent")
    async def get_recent(request: Request) -> Response:
        _authenticate(request, token)
        after = _parameter(request.query_params, "after", 0, 0, 2**63 - 1)
        limit = _parameter(request.query_params, "limit", 100, 1, MAX_PAGE)
        page = recent.page(after, limit)
        return Response(write_page(recent.instance, state.config.model_version, page), media_type="application/json")

    @app.put("/modelyard/replay")
    async def put_replay(request: Request) -> Response:
        _authenticate(request, token)
        references, version, seconds = read_lease(await _body(request))
        replayed = replay.lease(references, version, seconds)
        return Response(json.dumps({"replayed": replayed}), media_type="application/json")


def read_lease(body: bytes) -> tuple[tuple[Address, ...], str, float]:
    """Where to fetch from, the reference's version, for how many seconds. Raises RequestError (400)."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"The body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise _invalid("The body is no JSON object")
    urls, version = document.get("from"), document.get("version")
    seconds: Any = document.get("seconds")
    if not isinstance(urls, list) or len(urls) > MAX_REFERENCES or not all(isinstance(url, str) for url in urls):
        raise _invalid(f"from must be a list of at most {MAX_REFERENCES} URLs")
    if not isinstance(version, str) or not 0 < len(version) <= 64:
        raise _invalid("version must be a text of 1 to 64 characters")
    if type(seconds) not in (int, float) or not 0 <= seconds <= MAX_LEASE_SECONDS:
        raise _invalid(f"seconds must be a number between 0 and {MAX_LEASE_SECONDS:g}")
    return _addresses(urls), version, float(seconds)


def _addresses(urls: list[str]) -> tuple[Address, ...]:
    try:
        return tuple(dict.fromkeys(map(Address.parse, urls)))
    except ValueError as error:
        raise _invalid(f"from: {error}") from error


def _authenticate(request: Request, token: bytes) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token):
        raise RequestError("The control token is missing or wrong", ErrorCode.UNAUTHENTICATED, 401)


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(f"The request body is larger than {MAX_BODY_BYTES} bytes", status=413)
    return body


def _parameter(query: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and low <= int(text) <= high):
        raise _invalid(f"{name} must be a whole number between {low} and {high}")
    return int(text)


def _invalid(message: str) -> RequestError:
    return RequestError(message, ErrorCode.INVALID_PARAMETER_VALUE, 400)
