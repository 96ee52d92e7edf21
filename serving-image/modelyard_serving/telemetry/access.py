"""The access log: one JSON line a request."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from modelyard_serving.telemetry.note import Note


class AccessLog:
    """A sink of notes. Many lines are written at a time."""

    def __init__(self, model: str, version: str, stream: TextIO | None = None) -> None:
        """`stream`: standard output, if none is given."""
        self._served = {"model": model, "version": version}
        self._stream = stream

    def __call__(self, notes: Sequence[Note], left_out: int) -> None:
        """Write a line for each note, and one for those that were left out."""
        lines = [json.dumps(line_of(note) | self._served) for note in notes]
        if left_out:
            lines.append(json.dumps({**_head("warning", "access_log_left_out", datetime.now(UTC)), "lines": left_out}))
        stream = self._stream or sys.stdout
        # At once: other threads log, too.
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()


def line_of(note: Note) -> dict[str, Any]:
    """What is said of a request."""
    ended = datetime.fromtimestamp(note.at_ns(note.ended) / 1e9, UTC)
    return {
        **_head("info" if note.status < 400 else "warning", "request", ended),
        "request_id": note.request_id,
        "protocol": note.protocol,
        "status": note.status,
        "rows": note.rows,
        "seconds": round(note.ended - note.began, 6),
        "predict_seconds": round(note.predict_seconds, 6),
        "request_bytes": note.request_bytes,
        "response_bytes": note.response_bytes,
        **({"error": note.error} if note.error else {}),
        **({"trace_id": note.trace_id} if note.trace_id else {}),
    }


def _head(level: str, event: str, time: datetime) -> dict[str, Any]:
    return {"time": time.isoformat(timespec="milliseconds"), "level": level, "event": event}
