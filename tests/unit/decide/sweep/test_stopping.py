"""Which running trials are hopeless, and that Optuna's pruners say the same where they mean the same."""

from __future__ import annotations

import math
from collections.abc import Mapping

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from modelyard.api.experiment import Goal
from modelyard.api.sweep import EarlyStopping, StoppingAlgorithm
from modelyard.decide.sweep import State, Told, hopeless

NAN = math.nan
ASHA = EarlyStopping(algorithm=StoppingAlgorithm.ASHA, min_steps=1, reduction_factor=2)
Curve = Mapping[int, float]


def median(min_steps: int = 1, min_trials: int = 3) -> EarlyStopping:
    return EarlyStopping(algorithm=StoppingAlgorithm.MEDIAN, min_steps=min_steps, min_trials=min_trials)


def told(*curves: Curve, state: State = State.SUCCEEDED) -> list[Told]:
    return [Told(index, {}, state, None, curve) for index, curve in enumerate(curves)]


THREE = told({1: 0.1, 2: 0.5, 3: 0.6}, {1: 0.2, 2: 0.6, 3: 0.7}, {1: 0.3, 2: 0.7, 3: 0.8})


def test_median_says_why_with_the_numbers() -> None:
    assert hopeless(median(), Goal.MAXIMIZE, {1: 0.3, 2: 0.55}, THREE) == (
        "the best value up to step 2 was 0.55, below 0.6, the median of what 3 trials that succeeded had reached by"
        " then"
    )
    assert hopeless(median(), Goal.MINIMIZE, {1: 0.25}, THREE) == (
        "the best value up to step 1 was 0.25, above 0.2, the median of what 3 trials that succeeded had reached by"
        " then"
    )


MEDIAN = [
    ("at the median", {2: 0.6}, THREE, False),
    ("below the median", {2: 0.59}, THREE, True),
    ("its best counts, not its last", {1: 0.6, 2: 0.1}, THREE, False),
    ("later steps of the others do not count", {1: 0.2}, THREE, False),
    ("too few that ended", {2: 0.1}, THREE[:2], False),
    ("those that run do not count", {2: 0.1}, told({2: 0.9}, {2: 0.9}, {2: 0.9}, state=State.RUNNING), False),
    ("those that failed do not count", {2: 0.1}, told({2: 0.9}, {2: 0.9}, {2: 0.9}, state=State.FAILED), False),
    ("those that were stopped do not count", {2: 0.1}, told({2: 0.9}, {2: 0.9}, {2: 0.9}, state=State.STOPPED), False),
    ("nothing logged yet", {}, THREE, False),
    ("the first step is too early", {0: -9.0}, THREE, False),
    ("between the others' steps", {15: 0.3}, told({10: 0.4, 20: 0.9}, {10: 0.5, 20: 0.9}, {9: 0.6, 30: 1.0}), True),
    ("before the others' first step", {5: 0.3}, told({10: 0.4}, {10: 0.5}, {9: 0.6}), False),
    ("after the others' last step", {50: 0.55}, told({10: 0.4}, {10: 0.5}, {9: 0.6}), False),
    ("nothing but NaN", {1: NAN, 2: NAN}, THREE, True),
    ("NaN once, but better before", {1: 0.9, 2: NAN}, THREE, False),
    ("infinite", {2: math.inf}, THREE, True),
    ("NaN of others does not count", {2: 0.1}, told({1: 0.0, 2: NAN}, {1: 0.05, 2: 0.05}, {1: NAN, 2: NAN}), False),
]


@pytest.mark.parametrize(("what", "steps", "others", "stopped"), MEDIAN, ids=[case[0] for case in MEDIAN])
def test_median(what: str, steps: Curve, others: list[Told], stopped: bool) -> None:
    assert (hopeless(median(), Goal.MAXIMIZE, steps, others) is not None) is stopped


def test_no_trial_is_stopped_before_min_steps() -> None:
    for stopping in (median(min_steps=3), ASHA.model_copy(update={"min_steps": 3})):
        assert hopeless(stopping, Goal.MAXIMIZE, {1: 0.0, 2: 0.0}, THREE) is None
        assert hopeless(stopping, Goal.MAXIMIZE, {1: 0.0, 2: 0.0, 3: 0.0}, THREE) is not None


def test_asha_says_why_with_the_numbers() -> None:
    others = told(*({1: value} for value in (0.4, 0.5, 0.6)), state=State.RUNNING)
    assert hopeless(ASHA, Goal.MAXIMIZE, {1: 0.45}, others) == (
        "the best value up to step 1 was 0.45: 2 of 4 trials that reached step 1 were better there, and the"
        " best 2 go on"
    )
    assert hopeless(ASHA, Goal.MAXIMIZE, {1: 0.45}, others[1:2]) == (
        "the best value up to step 1 was 0.45: 1 of 2 trials that reached step 1 were better there, and only the best"
        " goes on"
    )


RUNNING = told({1: 0.4, 2: 0.5}, {1: 0.5, 2: 0.7}, {1: 0.6, 2: 0.9}, state=State.RUNNING)
RUNGS = [
    ("the first", {1: 0.1}, [], False),
    ("one of the best half", {1: 0.55}, RUNNING, False),
    ("not one of the best half", {1: 0.45}, RUNNING, True),
    ("as good as one of the best half", {1: 0.5}, told({1: 0.5}, {1: 0.6}, {1: 0.1}), False),
    ("by now as good as those that go on", {1: 0.1, 3: 0.95}, RUNNING, False),
    ("good on the first rung, hopeless on the second", {1: 0.55, 2: 0.55}, RUNNING, True),
    ("those that have not reached the rung do not count", {4: 0.1}, told({1: 0.05, 2: 0.05}), False),
    ("those that were stopped count", {1: 0.1}, told({1: 0.5}, state=State.STOPPED), True),
    ("those that failed do not count", {1: 0.1}, told({1: 0.5}, state=State.FAILED), False),
    ("a step past the rung counts as arrival", {3: 0.1}, told({3: 0.5}), True),
    ("nothing but NaN", {1: NAN}, [], True),
    ("NaN of others does not count", {1: 0.1}, told({1: NAN}), False),
]


@pytest.mark.parametrize(("what", "steps", "others", "stopped"), RUNGS, ids=[case[0] for case in RUNGS])
def test_asha(what: str, steps: Curve, others: list[Told], stopped: bool) -> None:
    assert (hopeless(ASHA, Goal.MAXIMIZE, steps, others) is not None) is stopped


finite = st.integers(-100, 100).map(lambda number: number / 10)
curves = st.lists(finite, min_size=1, max_size=20)
irregular = st.dictionaries(st.integers(0, 40), finite, min_size=1, max_size=12)
goals = st.sampled_from(Goal)
stoppings = st.builds(
    EarlyStopping,
    algorithm=st.sampled_from(StoppingAlgorithm),
    min_steps=st.integers(0, 8),
    min_trials=st.integers(1, 4),
    reduction_factor=st.integers(2, 4),
)


@given(
    stopping=stoppings,
    goal=goals,
    steps=irregular,
    others=st.lists(irregular, max_size=12),
    state=st.sampled_from(State),
)
def test_the_best_trial_is_never_stopped(
    stopping: EarlyStopping, goal: Goal, steps: Curve, others: list[Curve], state: State
) -> None:
    best = max if goal is Goal.MAXIMIZE else min
    everywhere = [best(steps.values()), *(value for curve in others for value in curve.values())]
    assume(best(everywhere) == best(steps.values()))
    assert hopeless(stopping, goal, steps, told(*others, state=state)) is None


@settings(deadline=None)
@given(stopping=stoppings, steps=irregular, others=st.lists(irregular, max_size=12))
def test_minimizing_is_maximizing_the_negative(stopping: EarlyStopping, steps: Curve, others: list[Curve]) -> None:
    def negative(curve: Curve) -> Curve:
        return {step: -value for step, value in curve.items()}

    up = hopeless(stopping, Goal.MAXIMIZE, steps, told(*others))
    down = hopeless(stopping, Goal.MINIMIZE, negative(steps), told(*map(negative, others)))
    assert (up is None) is (down is None)


def rising(values: list[float]) -> Curve:
    """Return a curve in which the best so far is the last: where all definitions mean the same value."""
    return dict(enumerate(sorted(values), start=1))


@settings(deadline=None, max_examples=60)
@given(
    own=curves,
    others=st.lists(curves, min_size=1, max_size=9),
    min_steps=st.integers(1, 5),
    min_trials=st.integers(1, 5),
)
def test_median_is_optunas_where_curves_only_rise(
    own: list[float], others: list[list[float]], min_steps: int, min_trials: int
) -> None:
    reached = [other for other in others if len(other) >= len(own)]
    study = _study([(optuna.trial.TrialState.COMPLETE, rising(other)) for other in reached])
    pruner = optuna.pruners.MedianPruner(n_startup_trials=min_trials, n_warmup_steps=min_steps, n_min_trials=min_trials)
    trial = _running(rising(own))
    ours = hopeless(median(min_steps, min_trials), Goal.MAXIMIZE, rising(own), told(*map(rising, reached)))
    assert (ours is not None) == pruner.prune(study, trial)


@settings(deadline=None, max_examples=60)
@given(others=st.lists(curves, max_size=9), factor=st.integers(2, 4), min_steps=st.integers(1, 3), own=curves)
def test_asha_is_optunas_on_arrival_at_the_first_rung(
    own: list[float], others: list[list[float]], factor: int, min_steps: int
) -> None:
    assume(len(own) >= min_steps)
    arriving = rising(own[:min_steps])
    study = _study([])
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=min_steps, reduction_factor=factor)
    reached = [dict(list(rising(other).items())[:min_steps]) for other in others if len(other) >= min_steps]
    for steps in reached:
        # Optuna notes what each trial had when it came to the rung, whether it went on or not.
        pruner.prune(study, _arrived(study, steps))
    stopping = EarlyStopping(algorithm=StoppingAlgorithm.ASHA, min_steps=min_steps, reduction_factor=factor)
    ours = hopeless(stopping, Goal.MAXIMIZE, arriving, told(*reached, state=State.STOPPED))
    assert (ours is not None) == pruner.prune(study, _arrived(study, arriving))


def _study(trials: list[tuple[optuna.trial.TrialState, Curve]]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for state, steps in trials:
        study.add_trial(
            optuna.trial.create_trial(state=state, value=max(steps.values()), intermediate_values=dict(steps))
        )
    return study


def _running(steps: Curve) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values=dict(steps))


def _arrived(study: optuna.Study, steps: Curve) -> optuna.trial.FrozenTrial:
    trial = study.ask()
    for step, value in steps.items():
        trial.report(value, step)
    return study.get_trials(deepcopy=False)[trial.number]
