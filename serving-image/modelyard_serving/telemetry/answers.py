"""The distribution of what clients are answered: the modelyard_answer* metrics.

Requests append their answers to a short queue and do no more. A scrape reads what has been queued since the one
before, so nothing is spent where nobody scrapes, and where more is answered between two scrapes than the queue holds,
the newest answers are the sample.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelyard_serving.compare import rows
from modelyard_serving.distribution import Bins, Summary, summarize

MAX_ANSWERS = 256
"""That are kept for the next scrape."""
MAX_ANSWER_BYTES = 64 * 1024
"""A longer answer is passed over."""
MAX_ROWS = 4096
"""That one scrape looks at; of more, every second, third … one."""

Read = Callable[[bytes], Any]


class Answers(Collector):
    """Any thread may scrape; `add` is for the event loop, which must not wait for one."""

    def __init__(self) -> None:
        self._newest: deque[tuple[str, bytes]] = deque(maxlen=MAX_ANSWERS)
        self._readers: Mapping[str, Read] = {}
        self._lock = threading.Lock()
        self._bins = Bins()
        self._counts: Counter[str] = Counter()
        self._invalid = 0
        self._lowest, self._highest = math.inf, -math.inf

    def read_by(self, readers: Mapping[str, Read]) -> None:
        """By the name of a dialect, what reads the predictions out of its answers."""
        self._readers = readers

    def add(self, dialect: str, answer: bytes) -> None:
        """An answer to a request for predictions."""
        if len(answer) <= MAX_ANSWER_BYTES:
            self._newest.append((dialect, answer))

    def collect(self) -> Iterable[Metric]:
        """Look at the answers that are new, and tell what is known of all that were looked at."""
        with self._lock:
            self._look()
            counts = CounterMetricFamily(
                "modelyard_answers", "Distribution of the answers; of many, that of the newest.", labels=["bin"]
            )
            for bin_, count in self._counts.items():
                counts.add_metric([bin_], count)
            yield counts
            yield CounterMetricFamily(
                "modelyard_answers_invalid", "Answers that are NaN, infinite or null.", self._invalid
            )
            if self._lowest <= self._highest:
                yield GaugeMetricFamily("modelyard_answer_min", "The least finite number answered.", self._lowest)
                yield GaugeMetricFamily("modelyard_answer_max", "The greatest finite number answered.", self._highest)

    def _look(self) -> None:
        answers = []
        while self._newest:
            answers.append(self._newest.popleft())
        found = [row for dialect, answer in answers for row in self._rows(dialect, answer)]
        step = -(-len(found) // MAX_ROWS) or 1
        self._count(summarize(found[::step], self._bins))

    def _rows(self, dialect: str, answer: bytes) -> list[Any]:
        try:
            return rows(self._readers[dialect](answer))
        except (KeyError, ValueError):
            # An answer that no reader understands has no distribution.
            return []

    def _count(self, summary: Summary) -> None:
        self._counts.update(summary.bins)
        self._invalid += summary.invalid
        self._lowest = min(self._lowest, summary.lowest)
        self._highest = max(self._highest, summary.highest)
