"""What a version answers, on the whole: how often which answer, between which bounds, how many that are none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from modelyard_serving.labels import printable

MAX_LABELS = 64
"""Distinct whole numbers, texts and truth values that are told apart; all further ones are `other`."""
MAX_LABEL_CHARS = 64
MAX_FLOAT_BINS = 256
MAX_POSITIONS = 32
"""Of a row that is a list, elements beyond are not looked at."""
MAX_BINS = 2048
"""Of all positions together."""
OTHER = "other"
_PER_OCTAVE = 8
_ABOVE_ZERO = 8 * 1100
"""No double is so small that its grid point, moved up by this, is not positive: the sign is the number's."""


class Bins:
    """Names the bins of both sides, so that a value that is told apart on one side is told apart on the other."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], set[str]] = {}
        self._count = 0

    def name(self, value: Any, prefix: str = "") -> str | None:
        """The bin of a scalar, None for one that is invalid. There are at most MAX_BINS, besides `other`."""
        if invalid(value):
            return None
        numeric = isinstance(value, float)
        bin_ = float_bin(value) if numeric else label_bin(value)
        known = self._known.setdefault((prefix, numeric), set())
        if bin_ not in known:
            if len(known) >= (MAX_FLOAT_BINS if numeric else MAX_LABELS) or self._count >= MAX_BINS:
                return prefix + OTHER
            known.add(bin_)
            self._count += 1
        return prefix + bin_


def float_bin(value: float) -> str:
    """The point of a fixed logarithmic grid, 8 an octave, below a finite number: `f0` for zero, `f-…` below zero."""
    if value == 0:
        return "f0"
    mantissa, exponent = math.frexp(abs(value))
    point = _PER_OCTAVE * exponent + math.floor(_PER_OCTAVE * math.log2(mantissa)) + _ABOVE_ZERO
    return f"f{point if value > 0 else -point}"


def label_bin(value: Any) -> str:
    """A whole number, text or truth value as JSON has it, cut off if it is long."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return printable(text[:MAX_LABEL_CHARS])


@dataclass
class Summary:
    """Of the rows of one answer."""

    invalid: int = 0
    """Rows with an element that is NaN, infinite or null."""
    bins: Counter[str] = field(default_factory=Counter)
    lowest: float = math.inf
    highest: float = -math.inf
    """Above `lowest` where there was any finite number."""


def summarize(rows: Iterable[Any], bins: Bins) -> Summary:
    """The summary of an answer. Scalars and the scalars of lists are counted; records, only if they are invalid."""
    summary = Summary()
    for row in rows:
        summary.invalid += any(map(invalid, _leaves(row)))
        if isinstance(row, list):
            for position, value in enumerate(row[:MAX_POSITIONS]):
                _count(summary, bins, value, f"{position}:")
        else:
            _count(summary, bins, row, "")
    return summary


def invalid(value: Any) -> bool:
    """Whether a scalar says nothing: NaN, infinite or null."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _count(summary: Summary, bins: Bins, value: Any, prefix: str) -> None:
    if isinstance(value, list | dict) or (name := bins.name(value, prefix)) is None:
        return
    summary.bins[name] += 1
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # A whole number beyond all floats.
            number = math.inf if value > 0 else -math.inf
        summary.lowest = min(summary.lowest, number)
        summary.highest = max(summary.highest, number)


def _leaves(row: Any) -> Iterator[Any]:
    """The scalars of a row, however it is nested."""
    stack = [row]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, dict):
            stack.extend(value.values())
        else:
            yield value
