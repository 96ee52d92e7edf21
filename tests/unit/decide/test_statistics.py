"""Bounds for what a limited number of samples can say, against closed forms, published tables and SciPy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelyard.decide.pod_metrics import Histogram
from modelyard.decide.statistics import (
    binomial_tail,
    merged_bins,
    population_shift,
    population_shifts,
    quantile_of,
    quantile_ranks,
    share_at_least,
    share_at_most,
    shift_at_chance,
)

_EDGES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, math.inf]
_counts = st.lists(st.integers(0, 500), min_size=len(_EDGES), max_size=len(_EDGES))
_answers = st.dictionaries(st.sampled_from([f"f{k}" for k in range(8800, 8840)]), st.integers(0, 300), max_size=40)


@st.composite
def _shares(draw: st.DrawFn) -> tuple[int, int]:
    trials = draw(st.integers(1, 5000))
    return draw(st.integers(0, trials)), trials


def test_a_share_of_4_in_20_has_the_bounds_of_the_nist_handbook() -> None:
    # https://www.itl.nist.gov/div898/handbook/prc/section2/prc241.htm, section "exact intervals".
    assert share_at_least(4, 20) == pytest.approx(0.071354, abs=1e-6)
    assert share_at_most(4, 20) == pytest.approx(0.401029, abs=1e-6)


@pytest.mark.parametrize("trials", [1, 10, 299, 10_000])
def test_none_and_all_have_bounds_in_closed_form(trials: int) -> None:
    assert share_at_least(0, trials) == 0.0
    assert share_at_most(trials, trials) == 1.0
    assert share_at_least(trials, trials) == pytest.approx(0.05 ** (1 / trials))
    assert share_at_most(0, trials) == pytest.approx(1 - 0.05 ** (1 / trials))


@given(_shares())
def test_the_lower_bound_is_clopper_and_pearsons(found: tuple[int, int]) -> None:
    successes, trials = found
    expected = stats.beta.ppf(0.05, successes, trials - successes + 1) if successes else 0.0
    assert share_at_least(successes, trials) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(_shares())
def test_a_share_lies_between_its_bounds(found: tuple[int, int]) -> None:
    successes, trials = found
    assert share_at_least(successes, trials) <= successes / trials <= share_at_most(successes, trials)


@given(_shares(), st.integers(2, 10))
def test_more_samples_with_the_same_share_bring_the_bound_nearer(found: tuple[int, int], times: int) -> None:
    successes, trials = found
    assert share_at_least(successes * times, trials * times) >= share_at_least(successes, trials) - 1e-12


@given(_shares(), st.floats(0.0001, 0.9999))
def test_the_binomial_tail_is_scipys(found: tuple[int, int], share: float) -> None:
    successes, trials = found
    expected = stats.binom.sf(successes - 1, trials, share)
    assert binomial_tail(successes, trials, share) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_the_tail_of_many_trials_is_exact_too() -> None:
    expected = stats.binom.sf(1_010_000 - 1, 100_000_000, 0.01)
    assert binomial_tail(1_010_000, 100_000_000, 0.01) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("samples", "quantile", "low", "high"),
    [
        (10, 0.5, 2, 9),  # Conover, Practical Nonparametric Statistics: P(X <= 1) = P(X >= 9) = 0.0107 for B(10, 0.5).
        (100, 0.99, 97, 100),
        (298, 0.99, 292, 298),  # 0.99 ** 298 is above 5 %: no value is surely above the 99th percentile.
        (299, 0.99, 293, 299),
        (1000, 0.99, 985, 996),
        (1, 0.99, 1, 1),  # A single value is above it in one case of a hundred.
    ],
)
def test_ranks_that_bound_a_quantile(samples: int, quantile: float, low: int, high: int) -> None:
    assert quantile_ranks(samples, quantile) == (low, high)


@given(st.integers(1, 3000), st.sampled_from([0.5, 0.9, 0.99]))
def test_the_ranks_are_the_best_that_keep_the_confidence(samples: int, quantile: float) -> None:
    low, high = quantile_ranks(samples, quantile)
    below = stats.binom(samples, quantile).cdf
    assert low == 0 or below(low - 1) <= 0.05 + 1e-12
    assert below(low) > 0.05 - 1e-12
    assert high == samples or below(high - 1) >= 0.95 - 1e-12


@given(_counts, st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_between_its_bounds(counts: list[int], quantile: float) -> None:
    found = quantile_of(Histogram(dict(zip(_EDGES, counts, strict=True))), quantile)
    if not sum(counts):
        assert found is None
        return
    assert found is not None
    assert found.samples == sum(counts)
    assert 0 <= found.low <= found.estimate <= found.high


@given(_counts, st.integers(1, 1000))
def test_fewer_independent_values_widen_the_bounds(counts: list[int], independent: int) -> None:
    histogram = Histogram(dict(zip(_EDGES, counts, strict=True)))
    whole, less = quantile_of(histogram, 0.99), quantile_of(histogram, 0.99, independent)
    if whole and less:
        assert less.low <= whole.low
        assert less.estimate == whole.estimate
        assert less.samples == min(independent, whole.samples)


@pytest.mark.parametrize(
    ("counts", "quantile", "estimate"),
    [
        ({0.1: 100}, 0.5, 0.05),
        ({0.1: 50, 0.2: 50}, 0.5, 0.1),
        ({0.1: 50, 0.2: 50}, 0.75, 0.15),
        ({0.1: 98, 0.2: 0, 0.4: 2}, 0.99, 0.3),
        ({0.1: 0, 0.2: 10}, 0.5, 0.15),
        # As histogram_quantile() of Prometheus: the last bucket has no end, so its begin is given.
        ({0.1: 1, math.inf: 9}, 0.99, 0.1),
    ],
)
def test_a_quantile_is_interpolated_in_its_bucket(counts: dict[float, int], quantile: float, estimate: float) -> None:
    found = quantile_of(Histogram(counts), quantile)
    assert found is not None
    assert found.estimate == pytest.approx(estimate)


@pytest.mark.parametrize(
    ("reference", "candidate", "psi", "bins"),
    [
        ({"yes": 500, "no": 500}, {"yes": 500, "no": 500}, 0.0, 2),
        # (0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5)
        ({"yes": 50_000, "no": 50_000}, {"yes": 60_000, "no": 40_000}, 0.04055, 2),
        ({"yes": 10}, {"yes": 990}, 0.0, 1),
        ({}, {}, 0.0, 0),
    ],
)
def test_index_of_classes(reference: dict[str, int], candidate: dict[str, int], psi: float, bins: int) -> None:
    found = population_shift(reference, candidate)
    assert found.psi == pytest.approx(psi, abs=1e-4)
    assert found.bins == bins


def test_a_class_that_the_reference_never_gives_shows() -> None:
    found = population_shift({"yes": 500, "no": 500}, {"yes": 450, "no": 450, "maybe": 100})
    assert found.psi > 0.3
    assert math.isfinite(found.psi)


def test_rare_labels_are_one_bin() -> None:
    reference = {"a": 100, "b": 4, "c": 1}
    assert merged_bins(reference, {"a": 90, "c": 10, "d": 5}) == [(100, 90), (5, 15)]


def test_numbers_are_merged_by_the_references_deciles() -> None:
    reference = {f"f{k}": 10 for k in range(-50, 50)}
    bins = merged_bins(reference, reference)
    assert bins == [(100, 100)] * 10


def test_numbers_are_merged_in_their_order_not_that_of_their_names() -> None:
    reference = {str(k): 10 for k in range(-5, 15)}
    candidate = {str(k): 10 for k in range(-5, 5)}
    assert merged_bins(reference, candidate) == [(20, 20)] * 5 + [(20, 0)] * 5


def test_what_lies_beyond_the_reference_falls_into_its_outermost_bins() -> None:
    reference = {f"f{k}": 10 for k in range(100)}
    bins = merged_bins(reference, {"f-7": 3, "f200": 4})
    assert bins[0] == (100, 3)
    assert bins[-1] == (100, 4)


def test_few_numbers_are_classes() -> None:
    assert merged_bins({"0": 900, "1": 100}, {"0": 800, "1": 200}) == [(900, 800), (100, 200)]


def test_lists_have_an_index_for_each_position() -> None:
    reference = {"0:f1": 50, "0:f2": 50, "1:f1": 50, "1:f2": 50}
    candidate = {"0:f1": 50, "0:f2": 50, "1:f1": 90, "1:f2": 10}
    first, second = population_shifts(reference, candidate)
    assert first.psi == pytest.approx(0.0)
    assert second.psi > 0.5


@given(_answers, _answers)
def test_an_index_is_finite_and_never_negative(reference: dict[str, int], candidate: dict[str, int]) -> None:
    found = population_shift(reference, candidate)
    assert 0 <= found.psi < math.inf
    assert found.bins <= 11


@given(_answers, _answers)
def test_merging_loses_no_answer(reference: dict[str, int], candidate: dict[str, int]) -> None:
    bins = merged_bins(reference, candidate)
    assert sum(r for r, _ in bins) == sum(reference.values())
    assert sum(c for _, c in bins) == sum(candidate.values())


@given(_answers)
def test_the_same_answers_have_no_shift(answers: dict[str, int]) -> None:
    assert population_shift(answers, answers).psi == pytest.approx(0.0)


@pytest.mark.parametrize("bins", [2, 5, 10, 60])
@pytest.mark.parametrize("bound", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("answers", [100, 1000, 100_000])
def test_what_chance_makes_of_an_index_is_the_quantile_of_chi_squared(bins: int, bound: float, answers: int) -> None:
    scale = answers / 2
    expected = stats.ncx2.ppf(0.95, bins - 1, bound * scale) if bound else stats.chi2.ppf(0.95, bins - 1)
    assert shift_at_chance(bound, bins, answers, answers) == pytest.approx(expected / scale, rel=0.03)


def test_with_a_single_bin_or_without_answers_no_index_is_beyond_chance() -> None:
    assert shift_at_chance(0.1, 1, 100, 100) == math.inf
    assert shift_at_chance(0.1, 10, 0, 100) == math.inf
