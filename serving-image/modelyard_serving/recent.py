"""The newest requests, remembered so that a candidate can be given the same ones."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections import deque
from typing import NamedTuple

MAX_ITEM_BYTES = 64 * 1024
"""A longer body or answer is passed over."""
MAX_BYTES = 4 * 1024 * 1024
"""Of all bodies and answers together."""
MAX_PAGE_BYTES = 1024 * 1024
"""Of the bodies and answers of one page; a page holds at least one request if there is one."""


class Remembered(NamedTuple):
    """A request that was answered with 200."""

    seq: int
    content_type: str
    body: bytes
    answer: bytes
    seconds: float
    """What the model alone took."""

    @property
    def size(self) -> int:
        """Bytes of the body and the answer."""
        return len(self.body) + len(self.answer)


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

    def add(self, content_type: str, body: bytes, answer: bytes, seconds: float) -> None:
        """Remember a request, unless it is too long or nothing is to be remembered."""
        if not self._limit or len(body) > MAX_ITEM_BYTES or len(answer) > MAX_ITEM_BYTES:
            return
        self._seq += 1
        self._requests.append(Remembered(self._seq, content_type, body, answer, seconds))
        self._bytes += len(body) + len(answer)
        while self._bytes > self._max_bytes or len(self._requests) > self._limit:
            self._bytes -= self._requests.popleft().size

    def page(self, after: int, limit: int) -> list[Remembered]:
        """At most `limit` requests numbered above `after`, the oldest first."""
        page: list[Remembered] = []
        size = 0
        for request in self._requests:
            if request.seq <= after:
                continue
            size += request.size
            if page and (size > MAX_PAGE_BYTES or len(page) >= limit):
                break
            page.append(request)
        return page


def write_page(instance: str, version: str, page: list[Remembered]) -> bytes:
    """The answer of `GET /modelyard/recent`; `read_page` of `reference` reads it."""
    requests = [
        {
            "seq": each.seq,
            "contentType": each.content_type,
            "body": b64encode(each.body).decode(),
            "answer": b64encode(each.answer).decode(),
            "seconds": round(each.seconds, 6),
        }
        for each in page
    ]
    return json.dumps({"instance": instance, "version": version, "requests": requests}).encode()
