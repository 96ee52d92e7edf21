"""What is refused of a sweep before anything is made, in words that name the field and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.experiment import Goal
from modelyard.api.sweep import EarlyStopping, Sweep, SweepAlgorithm, SweepParameter
from modelyard.decide.sweep import check
from tests.unit.decide.sweep.sweeps import between, sweep, values, when

GOOD = [
    (sweep("Grid", parameters={"x": values("1", "2")}), {}),
    (sweep("Grid", parameters={"x": between("0.1", "0.3", step="0.1")}), {"x": "float"}),
    (sweep("Random", parameters={"x": between("1", "100")}), {"x": "int"}),
    (sweep("Random", parameters={"x": between("1", "100", scale="Log", type="Int")}), {"x": "float"}),
    (sweep("Random", parameters={"x": between("0", "1")}), {"x": "string"}),
    (sweep("Bayesian", parameters={"x": between("0", "1"), "data": values("s3://a", "s3://b")}), {"data": "uri"}),
    (
        sweep("Bayesian", parameters={"a": values("1", "2"), "b": between("0", "1", when=when("a", "2"))}),
        {"a": "int"},
    ),
]


@pytest.mark.parametrize(("what", "types"), GOOD)
def test_a_good_sweep_has_nothing_wrong(what: Sweep, types: dict[str, str]) -> None:
    assert check(what, types, Goal.MAXIMIZE) is None


X = "spec.sweep.parameters.x"
BAD: list[tuple[dict[str, Any], str | None, str]] = [
    (values("1", "two"), "int", f"{X}.values: the entry point declares int, but 'two' is none"),
    (values("1", "2.0"), "int", f"{X}.values: the entry point declares int, but '2.0' is none"),
    (values("0.1", "high"), "float", f"{X}.values: the entry point declares float, but 'high' is none"),
    (between("1.5", "3"), "int", f"{X}.min must be a whole number, since the entry point declares int, but is 1.5"),
    (
        between("1", "3", step="0.5"),
        "int",
        f"{X}.step must be a whole number, since the entry point declares int, but is 0.5",
    ),
    (between("1", "3.5", type="Int"), None, f"{X}.max must be a whole number, since type is Int, but is 3.5"),
    (between("1", "3", type="Float"), "int", f"{X}.type: the entry point declares int: leave type out, or set Int"),
    (between("1", "3"), "path", f"{X}: the entry point declares path, so give values instead of a range of numbers"),
    (between("3", "1"), None, f"{X}: min 3 must be below max 1"),
    (between("1", "1.0"), None, f"{X}: min 1 must be below max 1.0"),
    (between("0", "1", scale="Log"), None, f"{X}.min must be above 0 on a logarithmic scale, but is 0"),
    (
        between("1", "9", scale="Log", step="1"),
        None,
        f"{X}.step has no meaning on a logarithmic scale: leave it out, or give values",
    ),
    (between("1", "2", step="0"), None, f"{X}.step must be above 0 and at most max - min, but is 0"),
    (between("1", "2", step="2"), None, f"{X}.step must be above 0 and at most max - min, but is 2"),
    (
        between("1", "1.00000000000000000001"),
        None,
        f"{X}: min and max are the same number as a 64-bit float: set them further apart, or give values",
    ),
    (
        between("0", "1", step="0.00000000000000000001"),
        None,
        f"{X}: the range has 100000000000000000001 numbers, more than 2^53: set a greater step",
    ),
    (
        between("9007199254740990", "9007199254740994"),
        "int",
        f"{X}: whole numbers must lie within ±2^53: give values instead",
    ),
]


@pytest.mark.parametrize(("parameter", "declared", "refusal"), BAD)
def test_a_bad_parameter_is_refused(parameter: dict[str, Any], declared: str | None, refusal: str) -> None:
    types = {"x": declared} if declared else {}
    assert check(sweep(parameters={"x": parameter}), types, None) == refusal


# The API server's rules refuse these, too; older ones of the cluster may not have.
SHAPES = [
    (SweepParameter(), f"{X}: set either values, or min and max"),
    (SweepParameter(min="1"), f"{X}: set either values, or min and max"),
    (SweepParameter(values=("1",), max="2"), f"{X}: set either values, or min and max"),
    (SweepParameter(values=("1",), step="2"), f"{X}: step, scale and type belong to a range, not to values"),
]


@pytest.mark.parametrize(("parameter", "refusal"), SHAPES)
def test_what_is_neither_a_list_nor_a_range_is_refused(parameter: SweepParameter, refusal: str) -> None:
    what = Sweep(algorithm=SweepAlgorithm.RANDOM, max_trials=1, parameters={"x": parameter})
    assert check(what, {}, None) == refusal


CONDITIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"x": between("0", "1", when=when("y", "a"))},
        f"{X}.when.parameter 'y' must name another parameter of spec.sweep.parameters",
    ),
    (
        {"x": values("a", when=when("x", "a"))},
        f"{X}.when.parameter 'x' must name another parameter of spec.sweep.parameters",
    ),
    (
        {
            "x": values("a", when=when("y", "a")),
            "y": values("a", when=when("z", "a")),
            "z": values("a", when=when("x", "a")),
        },
        f"{X}.when: x → y → z → x depend on each other in a circle, so none is ever given: remove one when",
    ),
    (
        {
            "x": values("a", when=when("y", "a")),
            "y": values("a", when=when("z", "a")),
            "z": values("a", when=when("y", "a")),
        },
        f"{X}.when: y → z → y depend on each other in a circle, so none is ever given: remove one when",
    ),
    (
        {"x": values("a", when=when("y", "0.5")), "y": between("0", "1")},
        f"{X}.when.parameter 'y' is a range without steps, which hits no value: give it a step",
    ),
    (
        {"x": values("a", when=when("y", "b", "adm")), "y": values("adam", "b")},
        f"{X}.when.values: y never is 'adm': its values are 'adam', 'b'",
    ),
    (
        {"x": values("a", when=when("y", "1.5")), "y": between("1", "3", step="1")},
        f"{X}.when.values: y never is '1.5'",
    ),
    (
        {"x": values("a", when=when("y", "many")), "y": between("1", "3", type="Int")},
        f"{X}.when.values: y never is 'many'",
    ),
]


@pytest.mark.parametrize(("parameters", "refusal"), CONDITIONS)
def test_a_condition_that_never_holds_is_refused(parameters: dict[str, Any], refusal: str) -> None:
    assert check(sweep(parameters=parameters), {}, None) == refusal


def test_each_algorithm_says_what_it_needs() -> None:
    parameters = {"x": between("0", "1")}
    endless = Sweep.model_validate({"algorithm": "Random", "parameters": parameters})
    assert check(endless, {}, None) == "spec.sweep.algorithm Random needs spec.sweep.maxTrials"
    assert check(sweep("Bayesian", parameters=parameters), {}, None) == (
        "spec.sweep.algorithm Bayesian needs spec.objective: it learns from its metric"
    )
    stopping = sweep(parameters=parameters).model_copy(update={"early_stopping": EarlyStopping()})
    assert check(stopping, {}, None) == (
        "spec.sweep.earlyStopping needs spec.objective: it compares trials by its metric"
    )
    assert check(sweep("Grid", parameters=parameters), {}, None) == (
        f"{X}: algorithm Grid needs values or a step; Random and Bayesian do not"
    )


def test_a_grid_of_more_trials_than_are_run_is_refused_unless_it_is_bounded() -> None:
    parameters = {name: values(*(str(value) for value in range(100))) for name in "abc"}
    assert check(sweep("Grid", parameters=parameters), {}, None) == (
        "spec.sweep.parameters make 1000000 trials; at most 10000 are run: give fewer values, or set"
        " spec.sweep.maxTrials with algorithm Random or Bayesian"
    )
    assert check(sweep("Grid", parameters=parameters, maxTrials=500), {}, None) is None
