"""What one model pod has measured, several together, and what came since an earlier measurement. Pure.

The figures are those of `GET /metrics` of a model pod; all of them count from the start of its process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

Side = Literal["candidate", "reference"]
K = TypeVar("K", bound=float | str)


@dataclass(frozen=True)
class Histogram:
    """How many values fell into each bucket.

    `counts` maps a bucket's upper bound (inclusive; the last is `inf`) to the number of values in that bucket alone.
    """

    counts: Mapping[float, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    def above(self, limit: float) -> int:
        """Return how many values lie in buckets that end above `limit`."""
        return sum(count for bound, count in self.counts.items() if bound > limit)

    def buckets(self) -> list[tuple[float, float, int]]:
        """Return (lower bound, upper bound, count) of every bucket, ascending. The first begins at 0."""
        bounds = sorted(self.counts)
        return [(low, high, self.counts[high]) for low, high in zip([0.0, *bounds], bounds, strict=False)]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What candidates found when they answered requests again that the reference had answered with 200.

    `requests` counts every answer; `distinct` is the most that one pod has replayed: several pods replay the same
    requests, which tells no more about them than one pod does. Maps by side may lack a side that has nothing.
    """

    reference_version: str = ""
    requests: int = 0
    distinct: int = 0
    errors: int = 0
    fetch_errors: int = 0
    """How often the reference did not say what it had answered."""
    difference: Histogram = field(default_factory=Histogram)
    """Of the single answers (rows): relative differences; `inf` for other labels, types or shapes."""
    invalid: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Side → bin → count. Bins are labels, whole numbers, or `f<k>` with an ascending k."""
    least: Mapping[str, float] = field(default_factory=dict)
    greatest: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, Histogram] = field(default_factory=dict)
    """Side → time that the model took, in seconds."""


@dataclass(frozen=True, kw_only=True)
class PodMetrics:
    """What one pod has measured since its process began, or several pods together (`pods`)."""

    pods: int = 1
    version: str = ""
    started: float | None = None
    """When the process began, in seconds since the epoch; None where that is unknown, or of several pods."""
    requests: Mapping[str, int] = field(default_factory=dict)
    """HTTP status code → number of answers, of /invocations alone."""
    seconds: Histogram = field(default_factory=Histogram)
    """Wall time of requests in the server."""
    memory_growth: int | None = None
    """Bytes that the process has now beyond those when the model was loaded; of several pods, the most."""
    replay: Replay = field(default_factory=Replay)

    @property
    def failed(self) -> int:
        """Requests that were answered with 5xx."""
        return sum(count for code, count in self.requests.items() if code.startswith("5"))

    @property
    def refused(self) -> int:
        """Requests that were answered with 4xx: the client's fault, unless the model server took a model's for it."""
        return sum(count for code, count in self.requests.items() if code.startswith("4"))

    @property
    def total(self) -> int:
        """All requests that were answered."""
        return sum(self.requests.values())


def merge(pods: Iterable[PodMetrics]) -> PodMetrics | None:
    """Return what the pods have measured together; None without pods."""
    measured = list(pods)
    if not measured:
        return None
    growths = [pod.memory_growth for pod in measured if pod.memory_growth is not None]
    return PodMetrics(
        pods=sum(pod.pods for pod in measured),
        version=_agreed(pod.version for pod in measured),
        requests=_sum(pod.requests for pod in measured),
        seconds=_together(pod.seconds for pod in measured),
        memory_growth=max(growths, default=None),
        replay=_merged_replay([pod.replay for pod in measured]),
    )


def since(base: PodMetrics, now: PodMetrics) -> PodMetrics:
    """Return what a pod has measured between two measurements of it: its requests and their times.

    A process that began again counts from zero, so then everything that it has is new. What is no counter
    (memory, and the replay, which only candidates have) is as in `now`.
    """
    if _restarted(base, now):
        return now
    return PodMetrics(
        pods=now.pods,
        version=now.version,
        started=now.started,
        requests=_less(now.requests, base.requests),
        seconds=Histogram(_less(now.seconds.counts, base.seconds.counts)),
        memory_growth=now.memory_growth,
        replay=now.replay,
    )


def _restarted(base: PodMetrics, now: PodMetrics) -> bool:
    if base.started is not None and now.started is not None and abs(now.started - base.started) > 1:
        return True
    shrunk = any(now.requests.get(code, 0) < count for code, count in base.requests.items())
    return shrunk or any(now.seconds.counts.get(bound, 0) < count for bound, count in base.seconds.counts.items())


def _merged_replay(replays: list[Replay]) -> Replay:
    # A pod that has replayed nothing yet has no reference to name.
    begun = [replay for replay in replays if replay.requests]
    sides = sorted({side for replay in begun for side in (*replay.answers, *replay.seconds)})
    return Replay(
        reference_version=_agreed(replay.reference_version for replay in begun),
        requests=sum(replay.requests for replay in begun),
        distinct=max((replay.distinct for replay in begun), default=0),
        errors=sum(replay.errors for replay in begun),
        fetch_errors=sum(replay.fetch_errors for replay in replays),
        difference=_together(replay.difference for replay in begun),
        invalid=_sum(replay.invalid for replay in begun),
        answers={side: _sum(replay.answers.get(side, {}) for replay in begun) for side in sides},
        least=_extreme(min, [replay.least for replay in begun]),
        greatest=_extreme(max, [replay.greatest for replay in begun]),
        seconds={side: _together(replay.seconds.get(side, Histogram()) for replay in begun) for side in sides},
    )


def _agreed(values: Iterable[str]) -> str:
    """Return the value of all, `mixed` where they differ."""
    found = {value for value in values if value}
    return found.pop() if len(found) == 1 else "mixed" if found else ""


def _sum(maps: Iterable[Mapping[K, int]]) -> dict[K, int]:
    result: dict[K, int] = {}
    for counts in maps:
        for key, count in counts.items():
            result[key] = result.get(key, 0) + count
    return result


def _less(now: Mapping[K, int], base: Mapping[K, int]) -> dict[K, int]:
    return {key: count - base.get(key, 0) for key, count in now.items()}


def _together(histograms: Iterable[Histogram]) -> Histogram:
    return Histogram(_sum(histogram.counts for histogram in histograms))


def _extreme(choose: Callable[[list[float]], float], maps: list[Mapping[str, float]]) -> dict[str, float]:
    """Return the least or greatest of each side; a gauge that is NaN says that there is none."""
    sides = {side for values in maps for side in values}
    found = {
        side: [values[side] for values in maps if side in values and not math.isnan(values[side])] for side in sides
    }
    return {side: choose(values) for side, values in found.items() if values}
