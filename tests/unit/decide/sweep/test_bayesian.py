"""Bayesian search: better than chance, from what was told alone, whatever became of the trials."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given, settings

from modelyard.api.experiment import Goal
from modelyard.api.sweep import Sweep
from modelyard.decide.sweep import State, Told, propose, size
from modelyard.decide.sweep.estimator import _KEPT
from tests.unit.decide.sweep.sweeps import (
    Combination,
    between,
    discrete_sweeps,
    expected_combinations,
    run,
    sweep,
    values,
    when,
)

MODEL = {
    "rate": between("0.00001", "1", scale="Log"),
    "depth": between("1", "32", type="Int"),
    "optimizer": values("adam", "sgd", "rmsprop"),
    "momentum": between("0", "0.99", when=when("optimizer", "sgd")),
}
SQUARE = {"x": between("-1", "1"), "y": between("-1", "1")}


def loss(model: Combination) -> float:
    """Return a model's loss: best with sgd, a momentum of 0.9, a rate of 0.01 and a depth of 8."""
    rate = (math.log10(float(model["rate"])) + 2) ** 2
    depth = abs(int(model["depth"]) - 8) / 8
    return rate + depth + (abs(float(model["momentum"]) - 0.9) if "momentum" in model else 1.5)


def best(history: list[Told]) -> float:
    return min(trial.value for trial in history if trial.value is not None)


def test_it_is_better_than_random_search() -> None:
    """Twelve pairs of sweeps with seeds of their own: by chance alone, ten wins or more come once in fifty."""
    wins = 0
    for seed in range(12):
        random, bayesian = (
            best(run(sweep(algorithm, parameters=MODEL, maxTrials=50, seed=seed), loss, 50))
            for algorithm in ("Random", "Bayesian")
        )
        wins += bayesian < random
    assert wins >= 10


def test_it_maximizes_where_that_is_the_goal() -> None:
    def height(point: Combination) -> float:
        return -((float(point["x"]) - 0.5) ** 2) - (float(point["y"]) + 0.5) ** 2

    what = sweep("Bayesian", parameters=SQUARE, maxTrials=50)
    history = run(what, height, 50, Goal.MAXIMIZE)
    late = [height(trial.parameters) for trial in history[30:]]
    assert sum(late) / len(late) > sum(height(trial.parameters) for trial in history[:10]) / 10 + 0.3


def test_the_same_seed_and_results_propose_the_same_however_they_are_told() -> None:
    what = sweep("Bayesian", parameters=MODEL, maxTrials=40, seed=5)
    history = run(what, loss, 25)
    assert run(what, loss, 25) == history
    again = propose(what, Goal.MINIMIZE, {}, 25, history)
    assert propose(what, Goal.MINIMIZE, {}, 25, history[::-1]) == again
    assert propose(what, Goal.MINIMIZE, {}, 25, [*history, Told(25, history[0].parameters, State.RUNNING)]) == again
    other = what.model_copy(update={"seed": 6})
    assert propose(other, Goal.MINIMIZE, {}, 25, history) != again


def test_trials_that_start_together_are_proposed_as_if_each_came_alone() -> None:
    what = sweep("Bayesian", parameters=MODEL, maxTrials=60)
    history = run(what, loss, 15)
    alone: list[Combination | None] = []
    for index in range(15, 20):
        _KEPT.clear()
        alone.append(propose(what, Goal.MINIMIZE, {}, index, history))
        history.append(Told(index, alone[-1] or {}, State.RUNNING))
    _KEPT.clear()
    together = [propose(what, Goal.MINIMIZE, {}, index, history[:index]) for index in range(15, 20)]
    assert together == alone


def test_trials_that_run_keep_others_away() -> None:
    what = sweep("Bayesian", parameters=MODEL, maxTrials=60)
    history = run(what, loss, 20)
    for index in range(20, 40):
        combination = propose(what, Goal.MINIMIZE, {}, index, history)
        assert combination is not None
        assert combination not in [trial.parameters for trial in history]
        history.append(Told(index, combination, State.RUNNING))


def test_before_there_are_results_it_is_random_search() -> None:
    bayesian, random = (sweep(algorithm, parameters=MODEL) for algorithm in ("Bayesian", "Random"))
    running = [Told(index, {}, State.RUNNING) for index in range(20)]
    for index in range(20):
        assert propose(bayesian, Goal.MINIMIZE, {}, index, running[:index]) == propose(
            random, Goal.MINIMIZE, {}, index, ()
        )


@settings(deadline=None, max_examples=15)
@given(what=discrete_sweeps("Bayesian"))
def test_finitely_many_are_tried_once_each_and_then_nothing_is_left(what: Sweep) -> None:
    history = run(what, lambda combination: float(len(str(combination))), 1000)
    combinations = [tuple(sorted(trial.parameters.items())) for trial in history]
    assert len(combinations) == size(what, {}) == len(set(combinations))
    assert set(combinations) == expected_combinations(what)


STRANGE = {
    "failed": (State.FAILED, None, {}),
    "failed after some steps": (State.FAILED, 0.5, {1: 0.5}),
    "NaN": (State.SUCCEEDED, math.nan, {1: math.nan}),
    "infinite": (State.SUCCEEDED, -math.inf, {}),
    "without the metric": (State.SUCCEEDED, None, {}),
    "stopped": (State.STOPPED, None, {1: 0.5, 5: 0.4}),
    "stopped with NaN": (State.STOPPED, math.nan, {1: 0.5, 5: math.nan}),
    "stopped without a step": (State.STOPPED, None, {}),
}


@pytest.mark.parametrize(("state", "value", "steps"), STRANGE.values(), ids=STRANGE)
def test_whatever_becomes_of_trials_the_next_is_proposed(
    state: State, value: float | None, steps: Mapping[int, float]
) -> None:
    what = sweep("Bayesian", parameters=MODEL, maxTrials=60)
    history = run(what, loss, 12)
    strange = [Told(trial.index + 12, trial.parameters, state, value, steps) for trial in history]
    for told in ([*history, *strange], strange):
        combination = propose(what, Goal.MINIMIZE, {}, 30, told)
        assert combination is not None
        assert math.isfinite(loss(combination))


def test_parameters_of_another_space_are_passed_over() -> None:
    what = sweep("Bayesian", parameters=MODEL, maxTrials=60)
    history = run(what, loss, 12)
    others = [
        Told(20 + number, parameters, State.SUCCEEDED, -100.0)
        for number, parameters in enumerate(
            [
                {},
                {**history[0].parameters, "rate": "100"},
                {**history[0].parameters, "rate": "fast"},
                {**history[0].parameters, "depth": "99"},
                {**history[0].parameters, "optimizer": "lion"},
            ]
        )
    ]
    assert propose(what, Goal.MINIMIZE, {}, 30, [*history, *others]) == propose(what, Goal.MINIMIZE, {}, 30, history)


def test_it_keeps_away_from_where_trials_fail() -> None:
    def run_where_half_fails(seed: int) -> list[Told]:
        what = sweep("Bayesian", parameters=SQUARE, maxTrials=60, seed=seed)
        history: list[Told] = []
        for index in range(60):
            point = propose(what, Goal.MINIMIZE, {}, index, history)
            assert point is not None
            fails = float(point["x"]) < 0
            # Nothing but the failures tells one x from another.
            history.append(Told(index, point, State.FAILED) if fails else _told(index, point))
        return history

    late = [trial for seed in range(3) for trial in run_where_half_fails(seed)[30:]]
    assert sum(trial.state is State.FAILED for trial in late) < len(late) / 3


def _told(index: int, point: Combination) -> Told:
    return Told(index, point, State.SUCCEEDED, float(point["y"]) ** 2)


def test_it_says_nothing_on_the_way(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    run(sweep("Bayesian", parameters=MODEL), loss, 14)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_optuna_is_imported_for_bayesian_sweeps_alone() -> None:
    code = "import sys, modelyard.decide.sweep; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
