"""Reads `GET /metrics` of a model pod: Prometheus' text format 0.0.4.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from modelyard.decide.pod_metrics import Histogram, PodMetrics, Replay

_SIDE = "side"
_MOST = 2**53


class BadMetrics(Exception):
    """The text holds no metrics of a model pod; the message says why."""


def parse(text: str) -> PodMetrics:
    """Return what the pod has measured. What is not there counts as zero. Raises `BadMetrics`."""
    try:
        samples = _by_name(text)
        if "modelyard_info" not in samples:
            raise BadMetrics("they are not those of a model server")
        return PodMetrics(
            version=_label(samples, "modelyard_info", "version"),
            started=_value(samples, "process_start_time_seconds"),
            requests=_counts(samples, "modelyard_requests_total", "code"),
            seconds=_histogram(samples.get("modelyard_request_seconds_bucket", ())),
            memory_growth=_growth(samples),
            replay=_replay(samples),
        )
    except (ValueError, KeyError, IndexError, OverflowError, TypeError) as error:
        raise BadMetrics(f"they cannot be read: {type(error).__name__}") from error


def _by_name(text: str) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return samples


def _replay(samples: dict[str, list[Sample]]) -> Replay:
    requests = _total(samples, "modelyard_replay_requests_total")
    return Replay(
        reference_version=_label(samples, "modelyard_replay_info", "reference_version"),
        requests=requests,
        distinct=requests,
        errors=_total(samples, "modelyard_replay_errors_total"),
        fetch_errors=_total(samples, "modelyard_replay_fetch_errors_total"),
        difference=_histogram(samples.get("modelyard_replay_difference_bucket", ())),
        invalid=_counts(samples, "modelyard_replay_invalid_total", _SIDE),
        answers={
            side: {sample.labels["bin"]: _whole(sample.value) for sample in of_side}
            for side, of_side in _sides(samples, "modelyard_replay_answers_total")
        },
        least=_gauges(samples, "modelyard_replay_answer_min"),
        greatest=_gauges(samples, "modelyard_replay_answer_max"),
        seconds={side: _histogram(of_side) for side, of_side in _sides(samples, "modelyard_replay_seconds_bucket")},
    )


def _sides(samples: dict[str, list[Sample]], name: str) -> Iterator[tuple[str, list[Sample]]]:
    found = samples.get(name, [])
    for side in sorted({sample.labels[_SIDE] for sample in found}):
        yield side, [sample for sample in found if sample.labels[_SIDE] == side]


def _histogram(samples: Iterable[Sample]) -> Histogram:
    """Return the histogram; Prometheus' buckets hold everything up to their bound, ours what is theirs alone."""
    upto = sorted((float(sample.labels["le"]), _whole(sample.value)) for sample in samples)
    counts: dict[float, int] = {}
    before = 0
    for bound, count in upto:
        if math.isnan(bound) or count < before:
            raise ValueError("a histogram's buckets do not ascend")
        counts[bound], before = count - before, count
    return Histogram(counts)


def _growth(samples: dict[str, list[Sample]]) -> int | None:
    now = _value(samples, "process_resident_memory_bytes")
    loaded = _value(samples, "modelyard_memory_after_load_bytes")
    return int(now - loaded) if now and loaded else None


def _counts(samples: dict[str, list[Sample]], name: str, label: str) -> dict[str, int]:
    return {sample.labels[label]: _whole(sample.value) for sample in samples.get(name, ())}


def _gauges(samples: dict[str, list[Sample]], name: str) -> dict[str, float]:
    return {sample.labels[_SIDE]: sample.value for sample in samples.get(name, ()) if not math.isnan(sample.value)}


def _label(samples: dict[str, list[Sample]], name: str, label: str) -> str:
    found = samples.get(name, ())
    return found[0].labels[label] if found else ""


def _value(samples: dict[str, list[Sample]], name: str) -> float | None:
    found = samples.get(name, ())
    return found[0].value if found else None


def _total(samples: dict[str, list[Sample]], name: str) -> int:
    return _whole(_value(samples, name) or 0.0)


def _whole(value: float) -> int:
    if not 0 <= value <= _MOST:
        raise ValueError("a counter is negative, no number, or beyond what a double counts exactly")
    return int(value)
