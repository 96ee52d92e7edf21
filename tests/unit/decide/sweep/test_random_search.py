"""Random search: by seed and index alone, over the whole space, nothing of finitely many twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from modelyard.api.sweep import Sweep
from modelyard.decide.sweep import State, Told, propose, size
from modelyard.decide.sweep.random_search import _sequence
from tests.unit.decide.sweep.sweeps import all_of, between, discrete_sweeps, expected_combinations, sweep, values, when

MIXED = {
    "rate": between("0.0001", "0.1", scale="Log"),
    "depth": between("2", "12", type="Int"),
    "kind": values("a", "b"),
}


def test_a_proposal_depends_on_seed_and_index_alone() -> None:
    what = sweep(parameters=MIXED, seed=3)
    in_order = all_of(what)
    _sequence.cache_clear()
    told = [Told(7, {"rate": "1"}, State.FAILED)]
    assert [propose(what, None, {}, index, told) for index in reversed(range(20))] == in_order[::-1]


@pytest.mark.parametrize(
    "parameters", [MIXED, {"kind": values(*"abcdefghijklmnop"), "depth": between("1", "9", step="1")}]
)
def test_another_seed_tries_something_else(parameters: dict[str, object]) -> None:
    one, other = (all_of(sweep(parameters=parameters, seed=seed)) for seed in (1, 2))
    assert len(one) == len(other) == 20
    assert one != other


def test_the_sequence_stays_what_it_was() -> None:
    """A sweep goes on where it was after an upgrade: what a seed draws is a promise."""
    what = sweep(parameters=MIXED, seed=1)
    assert [propose(what, None, {}, index, ()) for index in (0, 1)] == [
        {"depth": "11", "kind": "a", "rate": "0.00208127"},
        {"depth": "7", "kind": "b", "rate": "0.0118657"},
    ]
    discrete = sweep(parameters={"kind": values("a", "b", "c"), "n": between("1", "9", type="Int")}, seed=1)
    assert [propose(discrete, None, {}, index, ()) for index in (0, 1)] == [
        {"kind": "c", "n": "4"},
        {"kind": "b", "n": "6"},
    ]


@settings(deadline=None, max_examples=30)
@given(what=discrete_sweeps("Random"))
def test_finitely_many_are_tried_once_each_and_then_nothing_is_left(what: Sweep) -> None:
    combinations = [tuple(sorted(combination.items())) for combination in all_of(what)]
    assert len(combinations) == size(what, {}) == len(set(combinations))
    assert set(combinations) == expected_combinations(what)


def test_values_that_are_hardly_ever_drawn_are_tried_in_the_end() -> None:
    what = sweep(parameters={"n": between("1", "2000", type="Int", scale="Log")}, maxTrials=5000)
    assert sorted(int(each["n"]) for each in all_of(what)) == list(range(1, 2001))


def test_of_many_that_are_hardly_ever_drawn_none_is_tried_twice() -> None:
    """Nearly all combinations are below one of 300 values, so they are hardly ever drawn."""
    parameters = {
        "kind": between("1", "300", step="1"),
        "x": between("1", "10", type="Int", when=when("kind", "1")),
        "y": between("1", "3000", type="Int", when=when("kind", "1")),
    }
    combinations = all_of(sweep(parameters=parameters, maxTrials=1500))
    assert len({tuple(each.items()) for each in combinations}) == 1500


def test_a_rare_branch_without_end_is_found() -> None:
    parameters = {"kind": values(*map(str, range(100))), "x": between("0", "1", when=when("kind", "7"))}
    combinations = all_of(sweep(parameters=parameters, maxTrials=120))
    assert len({tuple(each.items()) for each in combinations}) == 120


def test_a_range_without_steps_goes_on_for_ever() -> None:
    what = sweep(parameters={"x": between("0", "1")}, maxTrials=2000)
    assert len({each["x"] for each in all_of(what)}) == 2000


def test_a_logarithmic_scale_has_as_many_in_each_decade() -> None:
    what = sweep(parameters={"x": between("0.0001", "1", scale="Log")}, maxTrials=4000)
    decades = [math.floor(math.log10(float(each["x"]))) for each in all_of(what)]
    for decade in (-4, -3, -2, -1):
        assert 880 < decades.count(decade) < 1120  # 1000 expected; 4.4 standard deviations.


def test_a_branch_is_as_likely_as_its_value_however_much_is_below_it() -> None:
    parameters = {
        "kind": values("plain", "rich"),
        "x": between("0", "1", when=when("kind", "rich")),
        "y": between("0", "1"),
    }
    combinations = all_of(sweep(parameters=parameters, maxTrials=1000))
    rich = [each for each in combinations if each["kind"] == "rich"]
    assert 430 < len(rich) < 570
    assert all(("x" in each) == (each["kind"] == "rich") for each in combinations)
