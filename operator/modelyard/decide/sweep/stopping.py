"""Early stopping: whether a running trial is hopeless by what others reached at the same step.

Median: the median stopping rule of Golovin et al., Google Vizier (KDD 2017), section 3.2.1. ASHA: asynchronous
successive halving of Li et al. (MLSys 2020), algorithm 2, in the variant that stops instead of pausing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from modelyard.api.experiment import Goal
from modelyard.api.sweep import EarlyStopping, StoppingAlgorithm
from modelyard.decide.sweep.model import Curve, State, Told


def hopeless(stopping: EarlyStopping, goal: Goal, steps: Mapping[int, float], others: Sequence[Told]) -> str | None:
    """Return why a running trial is to be stopped, in a sentence with the numbers; None where it goes on.

    `steps` are the values of the objective's metric that the trial has logged, by step; `others` are the other trials.
    Values that are no finite numbers count as not logged.
    """
    curve = Curve(steps)
    if curve.last < max(stopping.min_steps, 0):
        return None
    own = curve.best(goal, curve.last)
    judge = _by_median if stopping.algorithm is StoppingAlgorithm.MEDIAN else _by_rungs
    return judge(stopping, goal, own, curve.last, others)


def _by_median(stopping: EarlyStopping, goal: Goal, own: float | None, last: int, others: Sequence[Told]) -> str | None:
    ended = (other.curve.best(goal, last) for other in others if other.state is State.SUCCEEDED)
    reached = [value for value in ended if value is not None]
    if len(reached) < stopping.min_trials:
        return None
    median = statistics.median(reached)
    if own is not None and not _worse(goal, own, median):
        return None
    return (
        f"{_said(own, last)}, {_than(goal)} {median:.6g}, the median of what {len(reached)} trials that succeeded"
        " had reached by then"
    )


def _by_rungs(stopping: EarlyStopping, goal: Goal, own: float | None, last: int, others: Sequence[Told]) -> str | None:
    rung = max(stopping.min_steps, 1)
    while rung <= last:
        reached = [
            value
            for other in others
            if other.state is not State.FAILED and (value := other.curve.arrived(goal, rung)) is not None
        ]
        places = max((len(reached) + 1) // stopping.reduction_factor, 1)
        better = sum(1 for value in reached if own is None or _worse(goal, own, value))
        if own is None or better >= places:
            return (
                f"{_said(own, last)}: {better} of {len(reached) + 1} trials that reached step {rung} were better there,"
                f" and {'only the best goes' if places == 1 else f'the best {places} go'} on"
            )
        rung *= stopping.reduction_factor
    return None


def _worse(goal: Goal, value: float, than: float) -> bool:
    return value < than if goal is Goal.MAXIMIZE else value > than


def _than(goal: Goal) -> str:
    return "below" if goal is Goal.MAXIMIZE else "above"


def _said(own: float | None, step: int) -> str:
    if own is None:
        return f"up to step {step} no value of the objective was a finite number"
    return f"the best value up to step {step} was {own:.6g}"
