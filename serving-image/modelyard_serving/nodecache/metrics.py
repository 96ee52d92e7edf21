"""What the cache counts, in Prometheus' text format 0.0.4; without a library, which would cost more than the cache."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "requests": ("Requests for objects, by how they were answered.", "result"),
    "bytes": ("Bytes given to pods, by where they came from.", "source"),
    "store_bytes": ("Bytes of objects that came from the store.", None),
    "downloads": ("Downloads of whole objects into the cache.", None),
    "evictions": ("Objects removed to make room.", None),
    "poisoned": ("Objects dropped because their bytes were not their hash's.", None),
    "faults": ("Downloads into the cache that failed: the store, or the disk.", None),
}
_LABELS = {
    "requests": ("hit", "joined", "miss", "passed", "refused", "failed"),
    "bytes": ("cache", "store"),
}


class Metrics:
    """Counters; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, count: int = 1, label: str = "") -> None:
        """Count something."""
        with self._lock:
            self._counts[name, label] += count

    def value(self, name: str, label: str = "") -> int:
        """What has been counted."""
        with self._lock:
            return self._counts[name, label]

    def render(self, gauges: Mapping[str, int]) -> bytes:
        """The text."""
        lines = []
        for name, (text, label) in _HELP.items():
            metric = f"modelyard_node_cache_{name}_total"
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} counter"]
            for value in _LABELS.get(name, ("",)):
                labels = f'{{{label}="{value}"}}' if label else ""
                lines.append(f"{metric}{labels} {self.value(name, value)}")
        for name, number in gauges.items():
            lines += [f"# TYPE modelyard_node_cache_{name} gauge", f"modelyard_node_cache_{name} {number}"]
        return ("\n".join(lines) + "\n").encode()
