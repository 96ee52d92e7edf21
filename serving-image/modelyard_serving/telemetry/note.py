"""What one request leaves behind for the log and the traces: times and sizes, never its data or its headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import getrandbits
from time import perf_counter, time_ns

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"
_MAX_STATE_BYTES = 512
"""https://www.w3.org/TR/trace-context/#tracestate-limits: what must be passed on at least."""


@dataclass(slots=True, eq=False)
class Note:
    """Written by the event loop until the request is answered, read by other threads from then on."""

    protocol: str
    method: str
    path: str
    request_id: str
    trace_id: str
    """32 hex digits; empty if the request came without and nothing is traced."""
    traceparent: str
    """As it came, if it is one; else empty."""
    tracestate: str
    began_ns: int
    """Nanoseconds since the epoch."""
    began: float
    """The same moment, and all that follow, in seconds of a monotonic clock; 0 for what did not happen."""
    received: float = 0.0
    read: float = 0.0
    ran: float = 0.0
    ended: float = 0.0
    predict_seconds: float = 0.0
    status: int = 0
    rows: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    error: str = ""
    """The error's code."""

    def was_received(self, size: int) -> None:
        """The body is there."""
        self.received, self.request_bytes = perf_counter(), size

    def was_read(self, rows: int) -> None:
        """The request is understood."""
        self.read, self.rows = perf_counter(), rows

    def has_run(self, seconds: float) -> None:
        """The prediction has come to its end, of which the model took so long."""
        self.ran, self.predict_seconds = perf_counter(), seconds

    def has_ended(self, status: int, size: int) -> None:
        """The answer is written."""
        self.ended, self.status, self.response_bytes = perf_counter(), status, size

    def at_ns(self, moment: float) -> int:
        """A moment of the monotonic clock in nanoseconds since the epoch."""
        return self.began_ns + int((moment - self.began) * 1e9)

    def steps(self) -> list[tuple[str, float, float]]:
        """(name, begin, end) of what happened, in order."""
        found = [("receive", self.began, self.received)] if self.received else []
        if self.read:
            found.append(("read", self.received, self.read))
        if self.ran:
            predicting = max(self.read, self.ran - self.predict_seconds)
            found += [("queue", self.read, predicting), ("predict", predicting, self.ran)]
            if self.status == 200:
                found.append(("write", self.ran, self.ended))
        return found


def begin(
    protocol: str, method: str, path: str, headers: Mapping[bytes, bytes], request_id: bytes, *, traced: bool
) -> Note:
    """A note of a request that begins now. A trace that it belongs to is gone on with (W3C Trace Context)."""
    given = headers.get(TRACEPARENT, b"")
    match = _TRACEPARENT.match(given) if len(given) <= _MAX_STATE_BYTES else None
    new_id = f"{getrandbits(128) or 1:032x}" if traced else ""
    trace_id = match[1].decode() if match else new_id
    state = headers.get(TRACESTATE, b"") if match else b""
    return Note(
        protocol,
        method,
        path,
        request_id.decode("ascii"),
        trace_id,
        given.decode("latin-1") if match else "",
        state.decode("latin-1") if len(state) <= _MAX_STATE_BYTES else "",
        time_ns(),
        perf_counter(),
    )
