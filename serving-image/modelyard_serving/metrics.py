"""What the server counts: `GET /metrics` in Prometheus' text format."""

from __future__ import annotations

import os
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
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

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
        """Requests to /invocations that are not answered yet; written by the event loop alone."""
        ProcessCollector(registry=self.registry)
        self._info = Gauge(
            "modelyard_info", "What is served.", ["model", "version", "digest", "flavor"], registry=self.registry
        )
        self._memory = Gauge(
            "modelyard_memory_after_load_bytes",
            "Resident memory of the process when the model had been loaded.",
            registry=self.registry,
        )
        self._requests = Counter(
            "modelyard_requests", "Requests to /invocations by HTTP status.", ["code"], registry=self.registry
        )
        self._codes: dict[int, Counter] = {}
        self._seconds = Histogram(
            "modelyard_request_seconds",
            "Wall time of a request to /invocations in the server, once its body has arrived.",
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
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
        Gauge(
            "modelyard_requests_in_flight", "Requests to /invocations being answered.", registry=self.registry
        ).set_function(lambda: self.in_flight)

    def loaded(self, model: str, version: str, digest: str, flavor: str) -> None:
        """The model is in memory: from here on, growth is the requests' doing."""
        self._info.labels(printable(model), printable(version), digest, flavor).set(1)
        self._memory.set(resident_memory())

    def predicted(self, calls: int, rows: int) -> None:
        """So many requests, which had been waiting, were predicted together."""
        self._batch_requests.observe(calls)
        self._batch_rows.observe(rows)

    def answered(self, status: int, seconds: float) -> None:
        """A request has got its answer. Called by the event loop alone."""
        code = self._codes.get(status)
        if code is None:
            code = self._codes[status] = self._requests.labels(str(status))
        code.inc()
        self._seconds.observe(seconds)


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


def printable(text: str) -> str:
    """Text as a label's value: what could break a line, or is no character at all, becomes a question mark."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
