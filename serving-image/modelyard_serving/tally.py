"""What replaying has shown so far, about one reference version: the modelyard_replay_* metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from modelyard_serving.compare import differences, rows
from modelyard_serving.distribution import Bins, Summary, summarize
from modelyard_serving.labels import printable
from modelyard_serving.metrics import SECONDS_BUCKETS
from modelyard_serving.model import Answer
from modelyard_serving.recent import Remembered

DIFFERENCE_BUCKETS = (0.0, 1e-9, 1e-6, 1e-4, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, math.inf)
REFERENCE = "reference"
CANDIDATE = "candidate"


class Tally:
    """Counts comparisons with `version`. One thread writes, any may read the registry."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.replayed = 0
        self.registry = registry = CollectorRegistry()
        self._bins = Bins()
        self._bounds: dict[str, tuple[float, float]] = {}
        Gauge(
            "modelyard_replay_info", "What answers are compared with.", ["reference_version"], registry=registry
        ).labels(printable(version)).set(1)
        self._requests = Counter(
            "modelyard_replay_requests", "Requests of the reference that were replayed.", registry=registry
        )
        self._errors = Counter(
            "modelyard_replay_errors", "Of the requests replayed: this version failed.", registry=registry
        )
        self._fetch_errors = Counter(
            "modelyard_replay_fetch_errors", "The reference did not say what it had answered.", registry=registry
        )
        self._differences = Histogram(
            "modelyard_replay_difference",
            "Difference of an answer from the reference's: relative for numbers, else 0 or +Inf.",
            buckets=DIFFERENCE_BUCKETS,
            registry=registry,
        )
        self._invalid = Counter(
            "modelyard_replay_invalid", "Answers that are NaN, infinite or null.", ["side"], registry=registry
        )
        self._answers = Counter(
            "modelyard_replay_answers", "Distribution of the answers.", ["side", "bin"], registry=registry
        )
        self._lowest = Gauge(
            "modelyard_replay_answer_min", "The least finite number answered.", ["side"], registry=registry
        )
        self._highest = Gauge(
            "modelyard_replay_answer_max", "The greatest finite number answered.", ["side"], registry=registry
        )
        self._seconds = Histogram(
            "modelyard_replay_seconds",
            "What the model alone took for a request.",
            ["side"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        for side in (REFERENCE, CANDIDATE):
            self._invalid.labels(side)
            self._seconds.labels(side)

    def fetch_failed(self) -> None:
        """A pod of the reference could not be asked, or said nothing that can be used."""
        self._fetch_errors.inc()

    def failed(self) -> None:
        """This version failed on a request that the reference had answered."""
        self._count()
        self._errors.inc()

    def compared(self, request: Remembered, answer: Answer, read: Callable[[bytes], Any]) -> None:
        """Both versions have answered, in a form that `read` understands.

        Raises ValueError, and counts nothing, if the reference's is no answer.
        """
        reference = read(request.answer)
        expected = rows(reference)
        same = request.answer == answer.body
        candidate = reference if same else read(answer.body)
        found = [0.0] * len(expected) if same else differences(reference, candidate)
        self._summarized(REFERENCE, summarize(expected, self._bins), request.seconds)
        self._summarized(CANDIDATE, summarize(rows(candidate), self._bins), answer.seconds)
        for difference in found:
            self._differences.observe(difference)
        self._count()

    def _count(self) -> None:
        self.replayed += 1
        self._requests.inc()

    def _summarized(self, side: str, summary: Summary, seconds: float) -> None:
        self._seconds.labels(side).observe(seconds)
        if summary.invalid:
            self._invalid.labels(side).inc(summary.invalid)
        for bin_, count in summary.bins.items():
            self._answers.labels(side, bin_).inc(count)
        lowest, highest = self._bounds.get(side, (math.inf, -math.inf))
        lowest, highest = min(lowest, summary.lowest), max(highest, summary.highest)
        if lowest <= highest:
            self._bounds[side] = (lowest, highest)
            self._lowest.labels(side).set(lowest)
            self._highest.labels(side).set(highest)
