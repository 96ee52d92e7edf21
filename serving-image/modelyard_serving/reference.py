"""Asks the pods that a candidate is compared with for the requests they remember.

What a pod answers is not trusted: it may be another program's by now, cut off, endless or no JSON.
"""

from __future__ import annotations

import json
import math
import socket
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.recent import HEADERS, MAX_ITEM_BYTES, MLFLOW, Remembered

PAGE = 64
"""How many requests to ask for at a time."""
TIMEOUT = 2.0
"""Seconds for a connection, and for a pod to go on with its answer."""
DEADLINE = 5.0
"""Seconds for an answer as a whole."""
MAX_RESPONSE_BYTES = 4 * 1024 * 1024


class FetchError(Exception):
    """A pod did not answer, or not with a page of requests."""


@dataclass(frozen=True)
class Address:
    """`http://host:port` of a pod."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ValueError for anything but a bare http URL."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 80
        except ValueError as error:
            raise ValueError(f"{url!r} is no URL: {error}") from error
        extra = parts.path.removeprefix("/") or parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme != "http" or not host or extra:
            raise ValueError(f"{url!r} is not http://host:port")
        return cls(host, port)


@dataclass(frozen=True)
class Page:
    """What one pod remembers, from some sequence number on."""

    instance: str
    version: str
    requests: tuple[Remembered, ...]


def fetch(address: Address, after: int, token: str) -> Page:
    """The next requests that a pod remembers. Raises FetchError."""
    connection = HTTPConnection(address.host, address.port, timeout=TIMEOUT)
    try:
        connection.connect()
        with _cut_off(connection.sock):
            connection.request(
                "GET",
                f"/modelyard/recent?after={after}&limit={PAGE}",
                headers={"Authorization": f"Bearer {token}", "Connection": "close"},
            )
            response = connection.getresponse()
            if response.status != 200:
                raise FetchError(f"HTTP status {response.status}")
            content = response.read(MAX_RESPONSE_BYTES + 1)
        if len(content) > MAX_RESPONSE_BYTES:
            raise FetchError(f"the answer is larger than {MAX_RESPONSE_BYTES} bytes")
        return read_page(content)
    except (OSError, HTTPException, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {error}"[:300]) from error
    finally:
        connection.close()


@contextmanager
def _cut_off(sock: socket.socket) -> Iterator[None]:
    """End the connection after DEADLINE: one that trickles in never exceeds the timeout of a single read."""

    def cut() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(DEADLINE, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def read_page(content: bytes) -> Page:
    """What `write_page` of `recent` wrote. Raises FetchError for anything else."""
    try:
        document = json.loads(content)
        instance, version, requests = document["instance"], document["version"], document["requests"]
        if not (isinstance(instance, str) and len(instance) <= 64 and isinstance(version, str)):
            raise ValueError("instance or version is no short text")
        if not isinstance(requests, list) or len(requests) > PAGE:
            raise ValueError(f"requests is no list of at most {PAGE}")
        return Page(instance, version, tuple(map(_read_request, requests)))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FetchError(f"no page of requests: {type(error).__name__}: {error}"[:300]) from error


def _read_request(request: Any) -> Remembered:
    seq, seconds, dialect = request["seq"], request["seconds"], request.get("dialect", MLFLOW)
    if type(seq) is not int or not 0 < seq < 2**63:
        raise ValueError("seq is no positive number")
    if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
        raise ValueError("seconds is no time")
    if not isinstance(dialect, str) or len(dialect) > 16:
        raise ValueError("dialect is no short text")
    headers = {name: _short(request, key).encode("latin-1") for key, name in HEADERS.items() if key in request}
    query = request.get("query", {})
    if not isinstance(query, dict) or len(query) > 16:
        raise ValueError("query is no short mapping")
    body, answer = (b64decode(request[name], validate=True) for name in ("body", "answer"))
    if len(body) > MAX_ITEM_BYTES or len(answer) > MAX_ITEM_BYTES:
        raise ValueError(f"a body or answer is larger than {MAX_ITEM_BYTES} bytes")
    known = HttpRequest(body, headers, {name: _short(query, name) for name in query})
    return Remembered(seq, dialect, known, answer, float(seconds))


def _short(texts: Any, key: str) -> str:
    text = texts[key]
    if not isinstance(text, str) or len(text) > 1024:
        raise ValueError(f"{key} is no short text")
    return text
