"""What the server counts: `GET /metrics` in Prometheus' text format."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from modelyard_serving.errors import Rejection
from modelyard_serving.labels import printable
from modelyard_serving.telemetry.answers import Answers

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS_BUCKETS = tuple(float(f"{0.0005 * 1.2**step:.6g}") for step in range(65))
"""0.5 ms to about 58 s, each a fifth above the one before: a percentile read from them is off by less than that."""

BATCH_BUCKETS = tuple(float(2**power) for power in range(15))

# When a counter began to count is known from the process; a second series for each would double the answer.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one process. All methods may be called from any thread, except those that say otherwise."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.in_flight = 0
        """Requests for predictions that are not answered yet; written by the event loop alone."""
        ProcessCollector(registry=self.registry)
        self._info = Gauge(
            "modelyard_info",
            "What is served.",
            ["model", "version", "digest", "flavor", "runtime"],
            registry=self.registry,
        )
        self._memory = Gauge(
            "modelyard_memory_after_load_bytes",
            "Resident memory of the process when the model had been loaded.",
            registry=self.registry,
        )
        self._requests = _Requests()
        self.registry.register(self._requests)
        self._rejected = Counter(
            "modelyard_rejected",
            "Requests that were turned away for want of time or room.",
            ["reason"],
            registry=self.registry,
        )
        for rejection in Rejection:
            self._rejected.labels(rejection)
        self.answers = Answers()
        """What clients were answered."""
        self.registry.register(self.answers)
        self._seconds = _Seconds()
        self.registry.register(self._seconds)
        self._batch_requests = Histogram(
            "modelyard_batch_requests",
            "How many requests that had to wait were predicted together.",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self._batch_rows = Histogram(
            "modelyard_batch_rows",
            "How many rows of requests that had to wait were predicted together.",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self.queued: Callable[[], int] = int
        """How many requests wait for a prediction; none until there is a model."""
        Gauge(
            "modelyard_requests_in_flight", "Requests for predictions being answered.", registry=self.registry
        ).set_function(lambda: self.in_flight)
        Gauge(
            "modelyard_queue_requests", "Requests that wait for a prediction to begin.", registry=self.registry
        ).set_function(self._count_queued)

    def loaded(self, model: str, version: str, digest: str, flavor: str, runtime: str = "native") -> None:
        """The model is in memory: from here on, growth is the requests' doing."""
        self._info.labels(printable(model), printable(version), digest, flavor, runtime).set(1)
        self._memory.set(resident_memory())

    def _count_queued(self) -> int:
        return self.queued()

    def rejected(self, rejection: Rejection) -> None:
        """A request was turned away."""
        self._rejected.labels(rejection).inc()

    def predicted(self, calls: int, rows: int) -> None:
        """So many requests, which had been waiting, were predicted together."""
        self._batch_requests.observe(calls)
        self._batch_rows.observe(rows)

    def answered(self, status: int, seconds: float, protocol: str) -> None:
        """A request has got its answer. Called by the event loop alone."""
        self._requests.counts[protocol, status] += 1
        self._seconds.observe(seconds)


class _Requests(Collector):
    """Counts as cheaply as it can be done, since every request pays for it: a dictionary, and no lock."""

    def __init__(self) -> None:
        self.counts: Counts[tuple[str, int]] = Counts()
        """By protocol and status; written by the event loop alone."""

    def collect(self) -> Iterable[Metric]:
        counts = self.counts.copy()
        by_code: Counts[int] = Counts()
        protocols = CounterMetricFamily(
            "modelyard_protocol_requests", "The same by protocol and HTTP status.", labels=["protocol", "code"]
        )
        for (protocol, code), count in counts.items():
            by_code[code] += count
            protocols.add_metric([protocol, str(code)], count)
        codes = CounterMetricFamily(
            "modelyard_requests", "Requests for predictions by HTTP status, or by what it would be.", labels=["code"]
        )
        for code, count in by_code.items():
            codes.add_metric([str(code)], count)
        yield codes
        yield protocols


def render(*registries: CollectorRegistry) -> bytes:
    """The text of several registries, which share no metric's name."""
    return b"".join(map(generate_latest, registries))


def resident_memory() -> int:
    """Bytes of memory that the process has resident, as process_resident_memory_bytes counts them.

    Read from /proc/self/statm (proc_pid_statm(5)); 0 on systems that have none.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Seconds(Collector):
    """A histogram for the event loop alone, as cheap: a list, and no lock."""

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS_BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one more."""
        self._counts[bisect_left(SECONDS_BUCKETS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterable[Metric]:
        bounds = [*map(floatToGoString, SECONDS_BUCKETS), "+Inf"]
        family = HistogramMetricFamily(
            "modelyard_request_seconds",
            "Wall time of a request for predictions in the server, once its body has arrived.",
        )
        family.add_metric([], list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)
        yield family
