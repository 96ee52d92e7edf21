"""Connections within bounds: of number, of the size of headers, of the time that clients take.

uvicorn bounds the time between requests alone. A client that sends its headers a byte at a time, or never takes its
answer, would hold a connection and its memory for ever.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelyard_serving.errors import ErrorCode, Rejection

MAX_HEAD_BYTES = 64 * 1024
"""Of a request line and its headers, as far as they have not arrived in one piece of a read (at most 256 KiB)."""
MAX_HEADERS = 256
MAX_PIPELINED = 128
"""Requests of a connection that wait for the answers to those before them."""

Count = Callable[[Rejection], None]


_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n)", re.IGNORECASE)


class _Refused(Exception):
    """The parser stops, and the connection ends with an answer."""


def bounded(limit: int, count: Count) -> type[HttpToolsProtocol]:
    """The protocol for a server that holds so many connections; `count` is told of those that it turns away."""

    class Bounded(Connection):
        max_connections = limit
        rejected = staticmethod(count)

    return Bounded


class Connection(HttpToolsProtocol):
    """One connection. The event loop alone calls its methods."""

    max_connections = 0
    rejected: Count

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0
        self._fault: tuple[int, str] | None = None
        self._seen: tuple[object, float] = (None, monotonic())
        self._unsent: tuple[int, float] = (0, 0.0)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, if need be in the place of one that nothing happens on, else refuse it."""
        super().connection_made(transport)
        if len(self.connections) <= self.max_connections:
            return
        idle = next((other for other in self.connections if other is not self and _is_idle(other)), None)
        self.rejected(Rejection.CONNECTIONS)
        if idle is not None:
            cast("Connection", idle).transport.abort()
            self.connections.discard(idle)
        else:
            self.refuse(503, "The server has as many connections as it may have")

    def data_received(self, data: bytes) -> None:
        """Parse it, and see how much there is of headers that do not end."""
        before = self.cycle
        if b"h2c" in data and not self._head and not _is_answering(self):
            data = _without_upgrade(data)
        super().data_received(data)
        if self.cycle is not before or (before is not None and not before.response_complete):
            self._head = 0
            return
        self._head += len(data)
        if self._head > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.rejected(Rejection.TOO_LONG)
            self.refuse(431, f"The headers are longer than {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """Begin the request, unless there is too much of it."""
        if len(self.headers) > MAX_HEADERS:
            self._fault = (431, f"There are more than {MAX_HEADERS} headers")
            raise _Refused
        if len(self.pipeline) >= MAX_PIPELINED:
            self._fault = (400, f"More than {MAX_PIPELINED} requests wait for their answers")
            raise _Refused
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser stops."""
        status, message = self._fault or (400, msg)
        # In the midst of another answer there is nothing that could be said.
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
        else:
            self.refuse(status, message)

    def refuse(self, status: int, message: str) -> None:
        """Answer whatever comes on this connection, and close it."""
        if self.transport.is_closing():
            return
        code = ErrorCode.TEMPORARILY_UNAVAILABLE if status == 503 else ErrorCode.BAD_REQUEST
        body = json.dumps({"error_code": code, "message": message}).encode()
        phrases = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}
        retry = b"retry-after: 1\r\n" if status == 503 else b""
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
            % (status, phrases.get(status, b"Service Unavailable"), len(body), retry, body)
        )
        self.transport.close()

    def look(self, now: float, head_seconds: float, answer_seconds: float) -> None:
        """Called now and then: end the connection if its client takes too long over headers, or over an answer."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._unsent = (0, now)
        elif unsent != self._unsent[0]:
            self._unsent = (unsent, now)
        elif now - self._unsent[1] > answer_seconds:
            self.rejected(Rejection.SLOW)
            self.transport.abort()
            return
        if self.transport.is_closing():
            return
        # Between requests uvicorn has a timer; while one is answered, other limits hold.
        if _is_answering(self) or self.timeout_keep_alive_task is not None:
            self._seen = (None, now)
        elif self._seen[0] is not (self.cycle or self):
            self._seen = (self.cycle or self, now)
        elif now - self._seen[1] > head_seconds and not self._head:
            # Opened in advance, for a request that never came.
            self.transport.close()
        elif now - self._seen[1] > head_seconds:
            self.rejected(Rejection.SLOW)
            self.refuse(408, f"The headers took longer than {head_seconds:g} seconds to arrive")


def look(server: uvicorn.Server, head_seconds: float, answer_seconds: float) -> None:
    """End what takes too long among the server's connections."""
    now = monotonic()
    for connection in list(server.server_state.connections):
        if isinstance(connection, Connection):
            connection.look(now, head_seconds, answer_seconds)


def _without_upgrade(data: bytes) -> bytes:
    """A request without the wish to go on in HTTP/2, which a server may pass over (RFC 9110, 7.8).

    Java's HTTP client has it in every first request, and behind it the parser takes the body for the other protocol's.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head + end, count=1) + body


def _is_answering(connection: Any) -> bool:
    return connection.cycle is not None and not connection.cycle.response_complete


def _is_idle(connection: Any) -> bool:
    return not _is_answering(connection)
