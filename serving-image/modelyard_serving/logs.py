"""Logs: one JSON object a line on standard output."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_LOGGER = logging.getLogger("modelyard_serving")
_warned: set[str] = set()


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
