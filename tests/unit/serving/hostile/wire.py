"""HTTP by hand: what no client library would send."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.unit.serving.processes import ROW, SECONDS

BODY = json.dumps(ROW).encode()


@dataclass(frozen=True)
class Answer:
    """What came back until the server closed the connection, or until the answer was whole."""

    status: int | None
    """None: the connection was closed without an answer."""
    body: bytes = b""

    @property
    def error(self) -> Any:
        """The error in the answer's dialect."""
        return json.loads(self.body)


class Wire:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._received = b""

    def send(self, data: bytes) -> bool:
        """False if the server does not take it any more."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def drip(self, data: bytes, seconds: float) -> None:
        """A byte after the other, until the server has enough."""
        deadline = time.monotonic() + SECONDS
        for position in range(len(data)):
            assert time.monotonic() < deadline, "the server waits for ever"
            if not self.send(data[position : position + 1]) or self._is_closed(seconds):
                return

    def _is_closed(self, seconds: float) -> bool:
        self.socket.settimeout(seconds)
        try:
            more = self.socket.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(SECONDS)
        self._received += more
        return True

    def answer(self) -> Answer:
        """The next answer."""
        while not (found := self._whole()):
            try:
                more = self.socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                return self._cut_off()
            self._received += more
        return found

    def _whole(self) -> Answer | None:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        status = int(head.split()[1])
        if status == 100:
            self._received = rest
            return self._whole()
        sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        size = int(sizes[0]) if sizes else 0
        if len(rest) < size:
            return None
        self._received = rest[size:]
        return Answer(status, rest[:size])

    def _cut_off(self) -> Answer:
        head, _, rest = self._received.partition(b"\r\n\r\n")
        return Answer(int(head.split()[1]), rest) if head.startswith(b"HTTP/") else Answer(None)

    def close(self) -> None:
        self.socket.close()


def exchange(port: int, data: bytes) -> Answer:
    """The first answer to some bytes; the connection is half closed after them, as by a client that says no more."""
    with closing(Wire(port)) as wire:
        wire.send(data)
        return wire.answer()


def post(
    path: str = "/invocations", body: bytes = BODY, headers: dict[str, str] | None = None, version: str = "HTTP/1.1"
) -> bytes:
    """A request, right but for what is said."""
    given = {"Host": "model", "Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value != "-")
    return f"POST {path} {version}\r\n{lines}\r\n".encode("latin-1") + body
