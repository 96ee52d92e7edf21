"""The newest requests, remembered so that a candidate can be given the same ones."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections import deque
from typing import Any, NamedTuple

from modelyard_serving.protocol.dialect import HttpRequest

MAX_ITEM_BYTES = 64 * 1024
"""A longer body or answer is passed over."""
MAX_BYTES = 4 * 1024 * 1024
"""Of all bodies and answers together."""
MAX_PAGE_BYTES = 1024 * 1024
"""Of the bodies and answers of one page; a page holds at least one request if there is one."""


HEADERS = {"contentType": b"content-type", "headerLength": b"inference-header-content-length"}
"""What is remembered of a request's headers: those that say how its body is to be read. Others may be secret."""
MLFLOW = "mlflow"
"""The dialect of requests to /invocations; the only one that older versions of this server remember."""


class Remembered(NamedTuple):
    """A request that was answered with 200."""

    seq: int
    dialect: str
    request: HttpRequest
    answer: bytes
    seconds: float
    """What the model alone took."""

    @property
    def size(self) -> int:
        """Bytes of the body and the answer."""
        return len(self.request.body) + len(self.answer)


class Recent:
    """At most `limit` requests and `max_bytes`; the oldest go first. For the event loop alone: it has no lock."""

    def __init__(self, limit: int, max_bytes: int = MAX_BYTES) -> None:
        self.instance = secrets.token_hex(8)
        """Tells this process from another one at the same address: sequence numbers start anew with it."""
        self._limit = limit
        self._max_bytes = max_bytes
        self._requests: deque[Remembered] = deque()
        self._seq = 0
        self._bytes = 0

    def add(self, dialect: str, request: HttpRequest, answer: bytes, seconds: float) -> None:
        """Remember a request, unless it is too long or nothing is to be remembered."""
        if not self._limit or len(request.body) > MAX_ITEM_BYTES or len(answer) > MAX_ITEM_BYTES:
            return
        self._seq += 1
        # Only what is given out is reduced to the headers that may be: this is done for every request.
        self._requests.append(Remembered(self._seq, dialect, request, answer, seconds))
        self._bytes += len(request.body) + len(answer)
        while self._bytes > self._max_bytes or len(self._requests) > self._limit:
            self._bytes -= self._requests.popleft().size

    def page(self, after: int, limit: int) -> list[Remembered]:
        """At most `limit` requests numbered above `after`, the oldest first."""
        page: list[Remembered] = []
        size = 0
        for remembered in self._requests:
            if remembered.seq <= after:
                continue
            size += remembered.size
            if page and (size > MAX_PAGE_BYTES or len(page) >= limit):
                break
            page.append(remembered._replace(request=_reduced(remembered.request)))
        return page


def write_page(instance: str, version: str, page: list[Remembered]) -> bytes:
    """The answer of `GET /modelyard/recent`; `read_page` of `reference` reads it."""
    requests = list(map(_write, page))
    return json.dumps({"instance": instance, "version": version, "requests": requests}).encode()


def _reduced(request: HttpRequest) -> HttpRequest:
    headers = {name: value for name in HEADERS.values() if (value := request.headers.get(name)) is not None}
    return HttpRequest(request.body, headers, request.query)


def _write(remembered: Remembered) -> dict[str, Any]:
    request = remembered.request
    headers = {key: request.headers.get(name, b"").decode("latin-1") for key, name in HEADERS.items()}
    return {
        "seq": remembered.seq,
        "dialect": remembered.dialect,
        **{key: value for key, value in headers.items() if value or key == "contentType"},
        **({"query": dict(request.query)} if request.query else {}),
        "body": b64encode(request.body).decode(),
        "answer": b64encode(remembered.answer).decode(),
        "seconds": round(remembered.seconds, 6),
    }
