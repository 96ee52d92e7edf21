"""How often candidates are refused that deserve it or do not: simulated with fixed seeds, judged again and again.

A candidate is judged after every 100 requests up to 2,000, as a rollout would: one refusal is enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from modelyard.api.rollout import Analysis, FigureVerdict
from modelyard.decide.analysis import Evidence, judge
from modelyard.decide.pod_metrics import Histogram, PodMetrics, Replay

BATCH, LOOKS = 100, 20
EDGES = [*(0.0005 * 1.2**step for step in range(65)), math.inf]
BOUNDS = Analysis.model_validate(
    {
        "maxErrorRate": "0.01",
        "maxP99": "300ms",
        "maxP99Ratio": "1.2",
        "maxDisagreement": "0.05",
        "maxPSI": "0.2",
        "maxInvalid": "0.01",
    }
)


@dataclass(frozen=True)
class Nature:
    """What is true of a candidate. The stable version answers in 20 ms at the median, its scores are normal."""

    error_rate: float = 0.005
    disagreement: float = 0.025
    invalid: float = 0.005
    slower: float = 1.0
    shift: float = 0.0


def log_normal(median: float) -> np.ndarray:
    """The probability of each bucket for latencies that are log-normal with sigma 0.5."""
    upto = [
        1.0 if math.isinf(edge) else 0.5 + 0.5 * math.erf(math.log(edge / median) / 0.5 / math.sqrt(2))
        for edge in EDGES
    ]
    return np.diff([0.0, *upto])


def scores(mean: float) -> np.ndarray:
    """The probability of each of 40 bins for normal scores."""
    upto = [0.5 + 0.5 * math.erf((x - mean) / math.sqrt(2)) for x in np.linspace(-3, 3, 39)]
    return np.diff([0.0, *upto, 1.0])


STABLE_LATENCY, STABLE_SCORES = log_normal(0.02), scores(0.0)


def measurements(nature: Nature, seed: int) -> Iterator[PodMetrics]:
    """A candidate's measurement after every batch. Both sides are drawn apart, which is the worst case."""
    draw = np.random.default_rng(seed)
    latency, answers = log_normal(0.02 * nature.slower), scores(nature.shift)
    counted = [np.zeros(size, dtype=int) for size in (1, 1, 1, len(EDGES), len(EDGES), 40, 40)]
    for look in range(1, LOOKS + 1):
        drawn = (
            [draw.binomial(BATCH, nature.error_rate)],
            [draw.binomial(BATCH, nature.disagreement)],
            [draw.binomial(BATCH, nature.invalid)],
            draw.multinomial(BATCH, latency),
            draw.multinomial(BATCH, STABLE_LATENCY),
            draw.multinomial(BATCH, answers),
            draw.multinomial(BATCH, STABLE_SCORES),
        )
        counted = [before + more for before, more in zip(counted, drawn, strict=True)]
        errors, differing, invalid = (int(count[0]) for count in counted[:3])
        fast, reference = (Histogram(dict(zip(EDGES, map(int, counts), strict=True))) for counts in counted[3:5])
        of_candidate, of_reference = ({f"f{k}": int(n) for k, n in enumerate(counts)} for counts in counted[5:])
        total = look * BATCH
        yield PodMetrics(
            requests={"200": total - errors, "500": errors},
            seconds=fast,
            replay=Replay(
                requests=total,
                distinct=total,
                errors=errors,
                difference=Histogram({0.0: total - differing, math.inf: differing}),
                invalid={"candidate": invalid},
                answers={"candidate": of_candidate, "reference": of_reference},
                seconds={"candidate": fast, "reference": reference},
            ),
        )


def is_refused(nature: Nature, seed: int, *, replayed: bool = True, live: bool = True) -> bool:
    """Whether a candidate is ever refused, by what it replayed, by its live requests, or by both."""
    for measured in measurements(nature, seed):
        seen = PodMetrics(
            requests=measured.requests if live else {},
            seconds=measured.seconds if live else Histogram(),
            replay=measured.replay if replayed else Replay(),
        )
        evidence = Evidence(candidate=seen, stable=PodMetrics(seconds=measured.replay.seconds["reference"]))
        if judge(BOUNDS, evidence, 10 if live else 0).verdict == FigureVerdict.FAILED:
            return True
    return False


def test_of_a_thousand_harmless_candidates_at_most_one_in_twenty_is_ever_refused() -> None:
    refused = sum(is_refused(Nature(), seed) for seed in range(1000))
    assert refused <= 50


@pytest.mark.parametrize(
    ("nature", "live"),
    [
        pytest.param(Nature(error_rate=0.04), False, id="fails"),
        pytest.param(Nature(error_rate=0.04), True, id="fails live"),
        pytest.param(Nature(slower=4.8), False, id="is slow"),
        pytest.param(Nature(slower=4.8), True, id="is slow live"),
        pytest.param(Nature(disagreement=0.2), False, id="disagrees"),
        pytest.param(Nature(invalid=0.04), False, id="answers NaN"),
        pytest.param(Nature(shift=0.9), False, id="answers otherwise: an index of 0.8"),
    ],
)
def test_all_that_are_four_times_beyond_a_bound_are_refused(nature: Nature, live: bool) -> None:
    assert all(is_refused(nature, seed, replayed=not live, live=live) for seed in range(100))
