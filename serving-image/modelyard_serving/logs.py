"""Logs: one JSON object a line on standard output."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime

_LOGGER = logging.getLogger("modelyard_serving")
_warned: set[str] = set()
LINES = 20
"""That clients can cause, of each kind, in `SECONDS`."""
SECONDS = 10.0


class Throttle:
    """Lets some lines pass in a while and counts the others."""

    def __init__(self, lines: int = LINES, seconds: float = SECONDS) -> None:
        self._lines = lines
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until = 0.0
        self._left = 0
        self._left_out = 0

    def admit(self) -> int | None:
        """How many lines have been left out since the last one, if this one may be written; else None."""
        now = time.monotonic()
        with self._lock:
            if now >= self._until:
                self._until, self._left = now + self._seconds, self._lines
            if not self._left:
                self._left_out += 1
                return None
            self._left -= 1
            left_out, self._left_out = self._left_out, 0
            return left_out


class _Foreign(logging.Filter):
    """Libraries that log what clients do must not fill the log: uvicorn has a line for each malformed request."""

    def __init__(self) -> None:
        super().__init__()
        self._throttle = Throttle()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == _LOGGER.name:
            return True
        if (left_out := self._throttle.admit()) is None:
            return False
        if left_out:
            record.fields = {"left_out": left_out}
        return True


_requests = Throttle()


class JsonFormatter(logging.Formatter):
    """`{"time": RFC 3339, "level", "event", …fields}`; foreign records carry `logger` and their text as the event."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.name != _LOGGER.name:
            line["logger"] = record.name
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Send every logger, and Python's warnings, through the one JSON handler."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(_Foreign())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    _LOGGER.setLevel(logging.INFO)


def event(name: str, **fields: object) -> None:
    """Record that something significant happened."""
    _LOGGER.info(name, extra={"fields": fields})


def warning(name: str, **fields: object) -> None:
    """Record something that an operator of the service may want to mend."""
    _LOGGER.warning(name, extra={"fields": fields})


def warn_once(name: str, **fields: object) -> None:
    """Like `warning`, but a client that repeats the same mistake a million times gets one line (of at most 1000)."""
    key = f"{name} {fields!r}"
    if key not in _warned and len(_warned) < 1000:
        _warned.add(key)
        warning(name, **fields)


def request_failed(**fields: object) -> None:
    """A request was answered with an error. Only so many lines are written; the next one says how many were not."""
    if (left_out := _requests.admit()) is not None:
        warning("request_failed", **fields, **({"left_out": left_out} if left_out else {}))
