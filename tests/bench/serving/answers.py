"""Whether the servers answer alike, row by row."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.serving.models import INVOCATIONS, Model

ROWS_ALONE = 200
"""That many are asked one by one as well; all of them are, together."""
TOLERANCE = 1e-5
"""Of a probability."""
SHOWN = 3


@dataclass(frozen=True)
class Compared:
    """A server's answers beside those that they should equal."""

    rows: int
    differences: tuple[str, ...]

    @property
    def alike(self) -> bool:
        """Whether there is not one difference."""
        return not self.differences

    def __str__(self) -> str:
        if self.alike:
            return f"{self.rows} rows alike"
        return f"{len(self.differences)} of {self.rows} rows differ: " + "; ".join(self.differences[:SHOWN])


def labels(url: str, model: Model, protocol: str) -> list[Any]:
    """Return what a server predicts: of the whole data set in one request, then of its first rows, each in its own."""
    everything = range(len(model.rows))
    answers = _ask(url, model, everything, protocol)
    return answers + [_ask(url, model, [row], protocol)[0] for row in everything[:ROWS_ALONE]]


def probabilities(url: str, model: Model) -> list[list[float]]:
    """Return the probabilities of every row's classes, from a server that has them on request."""
    return _ask(f"{url}?method=predict_proba", model, range(len(model.rows)))


def compare(given: Sequence[Any], expected: Sequence[Any], tolerance: float = 0) -> Compared:
    """Compare rows: labels, or lists of probabilities that may differ by the tolerance."""
    if len(given) != len(expected):
        return Compared(len(expected), (f"{len(given)} answers",))
    pairs = enumerate(zip(given, expected, strict=True))
    differing = tuple(
        f"row {row}: {one} instead of {other}" for row, (one, other) in pairs if not _equal(one, other, tolerance)
    )
    return Compared(len(expected), differing)


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def _ask(url: str, model: Model, rows: Sequence[int], protocol: str = INVOCATIONS) -> list[Any]:
    request = urllib.request.Request(url, model.request(rows, protocol), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        document = json.load(answer)
    predictions: list[Any] = document["predictions"] if protocol == INVOCATIONS else document["outputs"][0]["data"]
    return predictions
