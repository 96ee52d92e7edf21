"""The client of the node's cache: one attempt, short waits, and the store itself whenever something is not right."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelyard_serving.fetch.http import Client, NetworkError, Stream
from modelyard_serving.fetch.ranges import Span, parse_content_range

if TYPE_CHECKING:
    from modelyard_serving.fetch.store import StoredObject

CONNECT_SECONDS = 0.5
"""It is on the same node; where there is none, packets to it may be dropped without an answer."""
READ_SECONDS = 10.0
"""For the first byte and between any two: the cache may have to wait for the store."""


class CacheRefused(Exception):
    """The cache answers, but not for this object: the store will say why, if there is a why."""


class NodeCache:
    """`usable` until it fails once; after that, this process does not wait for it again."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/objects"
        self._http = Client(CONNECT_SECONDS, READ_SECONDS)
        self._failed = threading.Event()

    @property
    def usable(self) -> bool:
        """Whether it is worth asking."""
        return not self._failed.is_set()

    def fail(self) -> None:
        """Do not ask it again."""
        self._failed.set()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._http.close()

    @contextmanager
    def open(self, item: StoredObject, url: str, start: int) -> Iterator[Stream]:
        """The object's bytes from `start` on. Raises CacheRefused, and NetworkError, after which it is not usable."""
        asked = json.dumps({"url": url, "etag": item.etag, "size": item.size}).encode()
        headers = {"Content-Type": "application/json", "Range": f"bytes={start}-"}
        try:
            with self._http.open(self._url, headers, method="POST", body=asked) as stream:
                self._check(stream, Span(start, item.size))
                yield stream
        except NetworkError:
            self.fail()
            raise

    @staticmethod
    def _check(stream: Stream, span: Span) -> None:
        told = parse_content_range(stream.header("Content-Range"))
        if stream.status != 206 or told != (span, span.stop):
            raise CacheRefused(f"the node's cache answered {stream.status}: {stream.text()[:200]!r}")
