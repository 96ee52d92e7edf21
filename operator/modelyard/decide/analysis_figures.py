"""The figures of an analysis, one function a kind: from numbers to a verdict that people can read. Pure.

Each returns a `Figure` whose `message` is a sentence: of a broken bound, which; of an inconclusive figure, what is
missing. A figure that keeps its bound has none, or a remark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from modelyard.api.rollout import Figure, FigureVerdict
from modelyard.decide.statistics import MAX_SAMPLES, Quantile, Shift, share_at_least, shift_at_chance

SMALLEST_DELAY = 0.002
"""Seconds. Two versions whose latencies are not further apart are equally fast: a scheduler's whim makes as much."""

_NAME_LIMIT, _VALUE_LIMIT, _MESSAGE_LIMIT = 63, 64, 256


@dataclass(frozen=True)
class Bound:
    """A bound: its figure's name, how people call the figure, the field of the spec, the value."""

    name: str
    words: str
    field: str
    value: float


@dataclass(frozen=True)
class Need:
    """How many requests a verdict needs, and what to say where there are fewer."""

    requests: int
    short: str


@dataclass(frozen=True)
class Draft:
    """A figure without its verdict."""

    name: str
    found: str = ""
    bound: str = ""
    samples: int = 0

    def passed(self, message: str = "") -> Figure:
        """Return the figure that keeps its bound."""
        return self._figure(FigureVerdict.PASSED, message)

    def failed(self, message: str) -> Figure:
        """Return the figure that breaks its bound."""
        return self._figure(FigureVerdict.FAILED, message)

    def inconclusive(self, message: str) -> Figure:
        """Return the figure that says too little."""
        return self._figure(FigureVerdict.INCONCLUSIVE, message)

    def above(self, bound: Bound) -> Figure:
        """Return the figure that is above its bound for sure."""
        return self.failed(f"{bound.words} {self.found} is above {bound.field} {self.bound}")

    def unsure(self, bound: Bound) -> Figure:
        """Return the figure that is above its bound by so little that it may be chance."""
        far = f"{bound.words} {self.found} is above {bound.field} {self.bound} so far"
        return self.inconclusive(f"{far}, which {self.samples} requests do not prove")

    def _figure(self, verdict: FigureVerdict, message: str) -> Figure:
        return Figure(
            name=cut(self.name, _NAME_LIMIT),
            verdict=verdict,
            found=cut(self.found, _VALUE_LIMIT),
            bound=cut(self.bound, _VALUE_LIMIT),
            samples=self.samples,
            message=cut(message, _MESSAGE_LIMIT),
        )


def share(bound: Bound, hits: int, total: int, samples: int, need: Need) -> Figure:
    """Judge a share: `hits` of `total` things, which came from `samples` independent requests.

    Where a request holds several answers, they tend to be wrong together: then the requests are counted, with the
    share that was found.
    """
    samples = min(samples, total)
    found = f"{percent(hits / total)} ({hits} of {total})" if total else ""
    draft = Draft(bound.name, found, percent(bound.value), samples)
    if hits and bound.value == 0:
        return draft.above(bound)
    if samples < need.requests:
        return draft.inconclusive(need.short)
    if hits / total <= bound.value:
        return draft.passed()
    counted = min(samples, MAX_SAMPLES)
    return draft.above(bound) if share_at_least(hits * counted // total, counted) > bound.value else draft.unsure(bound)


def latency(bound: Bound, found: Quantile | None, need: Need) -> Figure:
    """Judge a quantile of seconds against a bound in seconds."""
    limit = duration(bound.value)
    if found is None or found.samples < need.requests:
        draft = Draft(bound.name, duration(found.estimate) if found else "", limit, found.samples if found else 0)
        return draft.inconclusive(need.short)
    draft = Draft(bound.name, duration(found.estimate), limit, found.samples)
    if found.estimate <= bound.value:
        return draft.passed()
    return draft.above(bound) if found.low > bound.value else draft.unsure(bound)


def latency_ratio(bound: Bound, candidate: Quantile | None, stable: Quantile | None, need: Need) -> Figure:
    """Judge a quantile of seconds against the stable version's. Two that are within `SMALLEST_DELAY` are equal."""
    limit = f"{bound.value:g}"
    samples = min(candidate.samples, stable.samples) if candidate and stable else 0
    if candidate is None or stable is None:
        return Draft(bound.name, "", limit, samples).inconclusive(need.short)
    ratio = candidate.estimate / stable.estimate if stable.estimate else math.inf
    draft = Draft(
        bound.name, f"{ratio:.3g} ({duration(candidate.estimate)} to {duration(stable.estimate)})", limit, samples
    )
    if samples < need.requests:
        return draft.inconclusive(need.short)
    if ratio <= bound.value or candidate.estimate - stable.estimate < SMALLEST_DELAY:
        return draft.passed()
    return draft.above(bound) if candidate.low > bound.value * stable.high else draft.unsure(bound)


def shift(bound: Bound, found: Shift | None, samples: int, need: Need) -> Figure:
    """Judge a population stability index, found from so many independent requests on both sides."""
    draft = Draft(bound.name, f"{found.psi:.3g}" if found else "", f"{bound.value:g}", samples)
    if found is None or samples < need.requests:
        return draft.inconclusive(need.short)
    if found.psi <= bound.value:
        return draft.passed()
    chance = shift_at_chance(bound.value, found.bins, samples, samples)
    return draft.above(bound) if found.psi > chance else draft.unsure(bound)


def cut(text: str, limit: int) -> str:
    """Return the text with at most `limit` characters; an ellipsis says that there were more."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def percent(value: float) -> str:
    """Return a share for people: 4.2 %."""
    return f"{100 * value:.3g} %"


def duration(seconds: float) -> str:
    """Return seconds for people: 312 ms, 1.5 s."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def size(amount: float) -> str:
    """Return bytes for people: 12.5 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if abs(amount) < 1024:
            return f"{amount:.3g} {unit}" if abs(amount) < 999.5 else f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.3g} GiB"
