"""Bounds for what a limited number of samples can say. Pure; nothing but the standard library."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from modelyard.decide.pod_metrics import Histogram

CONFIDENCE = 0.95
"""Of every one-sided bound: it is wrong in at most one of twenty cases."""

MAX_SAMPLES = 1_000_000
"""As many are counted at most: more make no bound better that people could tell, but take time that a pod that
claims to have 10^15 could use up."""

_Z = 1.6448536269514722
"""The standard normal distribution's 95 % quantile."""

_BISECTIONS = 60
_PSI_BINS = 10
_PSI_SMOOTHING = 0.5
_RARE = 5
_FLOAT_BIN = re.compile(r"f(-?[0-9]+)")
_IN_LIST = re.compile(r"([0-9]+):(.*)", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class Quantile:
    """A quantile of measured values: its estimate, and one-sided bounds of the true one, each at 95 %.

    The bounds are whole bucket edges. `high` falls back on the greatest value where there are too few samples for one
    (for the 99th percentile: fewer than 299).
    """

    estimate: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True)
class Shift:
    """A population stability index: `psi`, and the number of bins that it was found over."""

    psi: float
    bins: int


def binomial_tail(successes: int, trials: int, share: float) -> float:
    """Return P(X >= successes) for X of a binomial distribution."""
    if successes <= 0:
        return 1.0
    if successes > trials or share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    above = successes > trials * share
    # The shorter tail, from its greatest term on, until terms no longer count.
    return _descend(successes, trials, share, 1) if above else 1.0 - _descend(successes - 1, trials, share, -1)


def _descend(start: int, trials: int, share: float, step: int) -> float:
    """Return the sum of the binomial's probabilities from `start` on away from its mode."""
    log_first = (
        math.lgamma(trials + 1)
        - math.lgamma(start + 1)
        - math.lgamma(trials - start + 1)
        + start * math.log(share)
        + (trials - start) * math.log1p(-share)
    )
    odds = share / (1 - share)
    total, term, k = 0.0, 1.0, start
    while 0 <= k <= trials and term > total * 1e-17:
        total += term
        term *= (trials - k) / (k + 1) * odds if step > 0 else k / (trials - k + 1) / odds
        k += step
    return min(1.0, math.exp(log_first) * total)


@lru_cache(maxsize=4096)
def share_at_least(successes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the lower one-sided confidence bound of a share, after Clopper and Pearson (exact).

    C. Clopper, E. S. Pearson: The use of confidence or fiducial limits illustrated in the case of the binomial,
    Biometrika 26 (1934). It is the share at which as many successes or more come with probability 1 - confidence.
    """
    if successes <= 0:
        return 0.0
    low, high = 0.0, successes / trials
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if binomial_tail(successes, trials, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def share_at_most(successes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the upper one-sided confidence bound of a share, after Clopper and Pearson (exact)."""
    return 1.0 - share_at_least(trials - successes, trials, confidence)


@lru_cache(maxsize=1024)
def quantile_ranks(samples: int, quantile: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Return the ranks (1 to `samples`) of the values that bound a quantile from below and from above.

    The k-th least value is above the quantile when fewer than k values are below it, which is binomial: W. J. Conover,
    Practical Nonparametric Statistics, section 3.2. Rank 0 says that no value bounds it from below; where none does
    from above, the greatest is given.
    """
    low, high = 0, samples
    # P(X <= k - 1) grows with k: bisect for the last k at which it is small, the first at which it is large.
    first, last = 1, samples
    while first <= last:
        middle = (first + last) // 2
        if 1 - binomial_tail(middle, samples, quantile) <= 1 - confidence:
            low, first = middle, middle + 1
        else:
            last = middle - 1
    first, last = 1, samples
    while first <= last:
        middle = (first + last) // 2
        if binomial_tail(middle, samples, quantile) <= 1 - confidence:
            high, last = middle, middle - 1
        else:
            first = middle + 1
    return low, high


def quantile_of(histogram: Histogram, quantile: float, samples: int | None = None) -> Quantile | None:
    """Return a quantile of the histogram; None where it is empty.

    `samples` is how many of its values are independent, where these are fewer than it has.
    """
    total = histogram.total
    if not total:
        return None
    independent = min(total, samples or total, MAX_SAMPLES)
    low, high = quantile_ranks(independent, quantile)
    return Quantile(
        estimate=_value_at(histogram, quantile * total),
        low=_edges(histogram, low * total / independent)[0] if low else 0.0,
        high=_edges(histogram, high * total / independent)[1],
        samples=independent,
    )


def _edges(histogram: Histogram, rank: float) -> tuple[float, float]:
    """Return the bounds of the bucket that holds the value of this rank. The last bucket ends in infinity."""
    seen = 0
    low = high = 0.0
    for low, high, count in histogram.buckets():  # noqa: B007 - the last ones are the answer
        seen += count
        if count and seen >= rank - 1e-9:
            break
    return low, high


def _value_at(histogram: Histogram, rank: float) -> float:
    """Return the value of this rank, as if values were spread evenly in their bucket.

    A value in the last, endless bucket is given as the bucket's lower bound, as Prometheus does.
    """
    seen = 0
    value = 0.0
    for low, high, count in histogram.buckets():
        if not count:
            continue
        value = low if math.isinf(high) else low + (high - low) * min(1.0, max(0.0, (rank - seen) / count))
        seen += count
        if seen >= rank - 1e-9:
            break
    return value


def population_shift(reference: Mapping[str, int], candidate: Mapping[str, int]) -> Shift:
    """Return the population stability index of the candidate's answers against the reference's.

    The sum over bins of (c - r) ln(c / r) for the shares c and r. Numbers are merged to about ten bins by the
    reference's deciles, labels that the reference has hardly ever given become one bin, and every bin gets half an
    answer more, so that an empty one does not make the index infinite.
    """
    bins = merged_bins(reference, candidate)
    smooth = _PSI_SMOOTHING * len(bins)
    in_reference = sum(r for r, _ in bins) + smooth
    in_candidate = sum(c for _, c in bins) + smooth
    psi = 0.0
    for r, c in bins:
        expected, found = (r + _PSI_SMOOTHING) / in_reference, (c + _PSI_SMOOTHING) / in_candidate
        psi += (found - expected) * math.log(found / expected)
    return Shift(psi=max(0.0, psi), bins=len(bins))


def population_shifts(reference: Mapping[str, int], candidate: Mapping[str, int]) -> list[Shift]:
    """Return the index of the answers, or one of each position where they are lists (bins `<position>:<bin>`)."""
    positions: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    for side, counts in enumerate((reference, candidate)):
        for name, count in counts.items():
            found = _IN_LIST.fullmatch(name)
            position, bin_ = (found[1], found[2]) if found else ("", name)
            positions.setdefault(position, ({}, {}))[side][bin_] = count
    return [population_shift(*sides) for _, sides in sorted(positions.items())]


def merged_bins(reference: Mapping[str, int], candidate: Mapping[str, int]) -> list[tuple[int, int]]:
    """Return (reference's count, candidate's count) for every bin that the index is worked out over."""
    names = {name for name in (*reference, *candidate) if reference.get(name) or candidate.get(name)}
    order = {name: position for name in names if (position := _position(name)) is not None}
    numeric = sorted(order, key=lambda name: (order[name], name))
    labels = sorted(names - order.keys())
    if len(numeric) <= _PSI_BINS:
        # So few numbers are classes.
        numeric, labels = [], sorted(names)
    return _by_deciles(numeric, reference, candidate) + _by_label(labels, reference, candidate)


def _by_deciles(names: list[str], reference: Mapping[str, int], candidate: Mapping[str, int]) -> list[tuple[int, int]]:
    share = sum(reference.get(name, 0) for name in names) / _PSI_BINS
    bins: list[tuple[int, int]] = []
    r = c = seen = 0
    for name in names:
        r, c = r + reference.get(name, 0), c + candidate.get(name, 0)
        seen += reference.get(name, 0)
        if r and seen >= share * (len(bins) + 1) - 1e-9 and len(bins) < _PSI_BINS - 1:
            bins.append((r, c))
            r = c = 0
    return [*bins, (r, c)] if r or c else bins


def _by_label(names: list[str], reference: Mapping[str, int], candidate: Mapping[str, int]) -> list[tuple[int, int]]:
    common = [name for name in names if reference.get(name, 0) >= _RARE]
    rare = [name for name in names if reference.get(name, 0) < _RARE]
    bins = [(reference[name], candidate.get(name, 0)) for name in common]
    rest = (sum(reference.get(name, 0) for name in rare), sum(candidate.get(name, 0) for name in rare))
    return [*bins, rest] if any(rest) else bins


def _position(name: str) -> float | None:
    """Return where a bin of numbers stands among the others, None for a label."""
    if found := _FLOAT_BIN.fullmatch(name):
        return float(found[1])
    return float(name) if _NUMBER.fullmatch(name) else None


def shift_at_chance(bound: float, bins: int, reference: int, candidate: int) -> float:
    """Return how high an index can be found by chance (95 %) where the true one is at `bound`.

    With n and m answers, the index times nm / (n + m) is about chi-squared with (bins - 1) degrees of freedom
    (B. Yurdakul, J. Naranjo: Statistical properties of the population stability index, Journal of Risk Model
    Validation 14 (2020)); not central where the true index is not 0. Its quantile is Patnaik's approximation
    (Biometrika 36, 1949) with Wilson's and Hilferty's for the central one.
    """
    if not reference or not candidate or bins < 2:
        return math.inf
    scale = reference * candidate / (reference + candidate)
    k, shifted = bins - 1, bound * scale
    stretch = (k + 2 * shifted) / (k + shifted)
    freedom = (k + shifted) ** 2 / (k + 2 * shifted)
    spread = 2 / (9 * freedom)
    return stretch * freedom * (1 - spread + _Z * math.sqrt(spread)) ** 3 / scale
