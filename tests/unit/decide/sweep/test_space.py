"""What a grid tries, how numbers are written, which parameters are given."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.api.sweep import Sweep
from modelyard.decide.sweep import check, propose, size
from modelyard.decide.sweep.domains import Reals
from tests.unit.decide.sweep.sweeps import all_of, between, discrete_sweeps, expected_combinations, sweep, values, when


def test_a_grid_is_the_product_and_the_last_name_varies_fastest() -> None:
    what = sweep("Grid", parameters={"b": values("1", "2"), "a": values("y", "x")})
    assert all_of(what) == [
        {"a": "y", "b": "1"},
        {"a": "y", "b": "2"},
        {"a": "x", "b": "1"},
        {"a": "x", "b": "2"},
    ]
    assert size(what, {}) == 4


def test_a_value_given_twice_is_tried_once() -> None:
    assert all_of(sweep("Grid", parameters={"a": values("1", "2", "1")})) == [{"a": "1"}, {"a": "2"}]


def test_max_trials_ends_a_grid() -> None:
    what = sweep("Grid", parameters={"a": values("1", "2", "3")}, maxTrials=2)
    assert size(what, {}) == 2
    assert all_of(what) == [{"a": "1"}, {"a": "2"}]


def test_a_parameter_is_given_only_where_its_condition_holds() -> None:
    parameters = {
        "optimizer": values("adam", "sgd"),
        "momentum": values("0.5", "0.9", when=when("optimizer", "sgd")),
        "nesterov": values("yes", "no", when=when("momentum", "0.9")),
    }
    assert all_of(sweep("Grid", parameters=parameters)) == [
        {"optimizer": "adam"},
        {"optimizer": "sgd", "momentum": "0.5"},
        {"optimizer": "sgd", "momentum": "0.9", "nesterov": "yes"},
        {"optimizer": "sgd", "momentum": "0.9", "nesterov": "no"},
    ]


def test_a_condition_on_a_number_compares_numbers() -> None:
    parameters = {
        "depth": between("1", "3", step="1"),
        "width": values("a", "b", when=when("depth", "2.0")),
    }
    assert all_of(sweep("Grid", parameters=parameters)) == [
        {"depth": "1"},
        {"depth": "2", "width": "a"},
        {"depth": "2", "width": "b"},
        {"depth": "3"},
    ]


@settings(deadline=None, max_examples=50)
@given(what=discrete_sweeps())
def test_a_grid_has_every_combination_once(what: Sweep) -> None:
    assert check(what, {}, None) is None
    combinations = [tuple(sorted(combination.items())) for combination in all_of(what)]
    assert len(combinations) == size(what, {}) == len(set(combinations))
    assert set(combinations) == expected_combinations(what)


def test_a_huge_range_is_counted_without_being_listed() -> None:
    what = sweep(
        "Grid",
        parameters={
            "n": between("0", "1000000000", step="1"),
            "m": values("x", "y", when=when("n", "500000000")),
        },
        maxTrials=10,
    )
    assert check(what, {}, None) is None
    assert propose(what, None, {}, 9, ()) == {"n": "9"}


STEPS = [
    (between("0.1", "0.5", step="0.2"), None, "0.1 0.3 0.5"),
    (between("0", "0.3", step="0.1"), None, "0.0 0.1 0.2 0.3"),
    (between("1", "2", step="0.5"), None, "1.0 1.5 2.0"),
    (between("1", "10", step="4"), None, "1 5 9"),
    (between("-2", "2", step="2"), None, "-2 0 2"),
    (between("-0.5", "0.5", step="0.5"), None, "-0.5 0.0 0.5"),
    (between("1", "3", step="1"), "int", "1 2 3"),
    (between("1.0", "3.0", step="1.0"), "int", "1 2 3"),
    (between("001", "3", step="1", type="Int"), None, "1 2 3"),
    (
        between("100000000000000000000", "100000000000000000002", step="1"),
        None,
        " ".join(str(10**20 + i) for i in range(3)),
    ),
    (between("0.0000001", "0.0000003", step="0.0000001"), "float", "0.0000001 0.0000002 0.0000003"),
]


@pytest.mark.parametrize(("parameter", "declared", "written"), STEPS)
def test_steps_are_exact_and_written_as_their_ends_are(
    parameter: dict[str, Any], declared: str | None, written: str
) -> None:
    what = sweep("Grid", parameters={"x": parameter})
    assert [each["x"] for each in all_of(what, {"x": declared} if declared else {})] == written.split()


NUMBERS = [
    ("0.00001", "0.1", True, 0.000316227766, "0.000316228"),
    ("0.00000001", "0.1", True, 1.5e-7, "1.5e-07"),
    ("0", "1", False, 0.123456789, "0.123457"),
    ("0", "0.5", False, 0.123456789, "0.1234568"),
    ("0", "1", False, 0.5, "0.5"),
    ("0", "10", False, 2.0, "2.0"),
    ("-1", "1", False, -0.0, "0.0"),
    ("-1", "1", False, -1e-9, "0.0"),
    ("1000000", "1000001", False, 1000000.123456789, "1000000.123457"),
    ("0", "100000000000000000000", False, 12345678901234567890.0, "12345700000000000000.0"),
    ("0.15", "0.25", False, 0.15, "0.15"),
    ("0.1499999999", "0.25", False, 0.1499999999, "0.15"),
]


@pytest.mark.parametrize(("low", "high", "log", "number", "written"), NUMBERS)
def test_numbers_are_written_as_a_person_would(low: str, high: str, log: bool, number: float, written: str) -> None:
    assert Reals(Decimal(low), Decimal(high), log).write(number) == written


@settings(deadline=None)
@given(
    ends=st.tuples(*[st.decimals(0, 10**6, places=9, allow_nan=False)] * 2).filter(lambda ends: ends[0] < ends[1]),
    unit=st.floats(0, 1, exclude_max=True),
    log=st.booleans(),
)
def test_a_drawn_number_is_within_its_range_and_written_so_that_it_stays(
    ends: tuple[Decimal, Decimal], unit: float, log: bool
) -> None:
    reals = Reals(*ends, log and ends[0] > 0)
    written = reals.draw(unit)
    assert ends[0] <= Decimal(written) <= ends[1]
    assert reals.write(float(written)) == written


@pytest.mark.parametrize("algorithm", ["Random", "Bayesian"])
def test_whole_numbers_are_never_written_with_a_fraction(algorithm: str) -> None:
    parameters = {"a": between("1", "100"), "b": between("1", "100", type="Int", scale="Log")}
    for combination in all_of(sweep(algorithm, parameters=parameters), {"a": "int", "b": "float"}):
        assert 1 <= int(combination["a"]) <= 100
        assert 1 <= int(combination["b"]) <= 100
