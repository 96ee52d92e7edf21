"""What a request's headers ask of the server, whatever its protocol."""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl

from modelyard_serving.errors import ErrorCode, Rejection, RequestError
from modelyard_serving.protocol.dialect import HttpRequest

REQUEST_ID = b"x-request-id"
TIMEOUT = b"x-request-timeout"
ENCODING = b"content-encoding"
_MAX_ID_BYTES = 128


class RequestIds:
    """Names requests: by the name they came with, or by a new one."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def of(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The client's `X-Request-Id` if it is one (printable ASCII, at most 128 bytes), else one of our own."""
        given = headers.get(REQUEST_ID)
        if given and len(given) <= _MAX_ID_BYTES and given.isascii() and given.decode("ascii").isprintable():
            return given
        return f"{self._prefix}-{next(self._numbers)}".encode()


def seconds_of(headers: Mapping[bytes, bytes], limit: float) -> float:
    """How long the request may take: what `X-Request-Timeout` says, in seconds, but `limit` at most.

    Raises RequestError (400) for what is no positive number.
    """
    given = headers.get(TIMEOUT)
    if given is None:
        return limit
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        message = f"X-Request-Timeout must be a positive number of seconds, not {given[:64]!r}"
        raise RequestError(message, ErrorCode.INVALID_PARAMETER_VALUE)
    return min(seconds, limit)


def query_of(query: bytes) -> dict[str, str]:
    """The parameters of a query; the last one of a name counts."""
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}


def require_plain(encoding: bytes) -> None:
    """Raises RequestError (415) for a body that is compressed: a short one could become more than memory holds."""
    if encoding.strip().lower() not in (b"", b"identity"):
        message = f"The Content-Encoding {encoding[:64].decode('latin-1')!r} is not supported: send the body as it is"
        raise RequestError(message, status=415)


def require_few_values(request: HttpRequest, limit: int) -> None:
    """Raises RequestError (413) for JSON of more values than `limit`, as its commas and brackets tell.

    A parser lets nothing else of the process run, and makes objects of many times the bytes: 16 MiB of `[1,1,…]` would
    hold all other requests up for seconds. Commas within texts count as well.
    """
    body = request.body
    if length := request.headers.get(b"inference-header-content-length"):
        body = body[: int(length)] if length.isdigit() and len(length) < 10 else b""
    elif (request.content_type or "").lower().startswith("text/csv"):
        return
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > limit:
        message = f"The request holds {values} values; more than {limit} are not read. Send it in parts"
        raise RequestError(message, status=413, rejection=Rejection.TOO_LONG)
