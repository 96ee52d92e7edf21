"""Byte ranges of objects, as RFC 9110, section 14, has them. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

PART_BYTES = 16 * 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Span(NamedTuple):
    """Bytes `start` to `stop`, the latter not included."""

    start: int
    stop: int

    @property
    def header(self) -> str:
        """The value of `Range`."""
        return f"bytes={self.start}-{self.stop - 1}"


def parts(size: int, part: int = PART_BYTES) -> list[Span]:
    """An object's bytes, cut into pieces of `part` bytes; the last one may be shorter. None for an empty object."""
    return [Span(start, min(start + part, size)) for start in range(0, size, part)]


def parse_content_range(value: str | None) -> tuple[Span, int | None] | None:
    """(what is sent, the object's size if it is told) of `Content-Range`; None if it is absent or malformed."""
    if not (match := _CONTENT_RANGE.fullmatch(value or "")):
        return None
    span = Span(int(match[1]), int(match[2]) + 1)
    size = None if match[3] == "*" else int(match[3])
    return (span, size) if span.start < span.stop and (size is None or span.stop <= size) else None


def parse_range(value: str | None, size: int) -> Span | None:
    """What `Range` asks of an object of `size` bytes; None for everything, as for what is no single simple range.

    Raises ValueError if nothing of the object is in the range.
    """
    if not (match := _RANGE.fullmatch(value or "")):
        return None
    span = Span(int(match[1]), min(int(match[2]) + 1, size) if match[2] else size)
    if span.start >= span.stop:
        raise ValueError(f"{value} of {size} bytes")
    return span
