"""Reads /metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """The samples of one answer of /metrics."""

    def __init__(self, text: str) -> None:
        self._samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The value of a sample, 0 if there is none, as for a counter that never counted."""
        return self._samples.get((name, frozenset(labels.items())), 0)

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of all samples of that name."""
        return [dict(labels) for found, labels in self._samples if found == name]
