"""Bayesian search: an estimator made anew from the trials for each proposal, so that there is nothing else to keep.

An operator that starts again goes on where the last one was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelyard.api.experiment import Goal
from modelyard.decide.sweep import random_search
from modelyard.decide.sweep.model import State, Told
from modelyard.decide.sweep.space import Items, Space

STARTUP_TRIALS = 10
"""So many results come from random search before the estimator has enough to learn from; Optuna's own default."""

_ATTEMPTS = 8
"""How often the estimator is asked for something that was not tried, before random search is."""


def suggested(space: Space, goal: Goal, seed: int, index: int, history: Sequence[Told]) -> dict[str, str] | None:
    """Return the combination of a trial, or None where each of finitely many was tried."""
    told = sorted((trial for trial in history if trial.index != index), key=lambda trial: trial.index)
    tried = {tuple(sorted(trial.parameters.items())) for trial in told}
    if space.count is not None and len(tried) >= space.count:
        return None
    if sum(map(_has_result, told)) >= STARTUP_TRIALS:
        # Imported when it is first needed: Optuna takes half a second and 20 MB, which other sweeps do without.
        from modelyard.decide.sweep import estimator  # noqa: PLC0415

        keys = (f"{seed}/{index}/{attempt}" for attempt in range(_ATTEMPTS))
        if (combination := estimator.suggested(space, goal, told, keys, tried)) is not None:
            return combination
    return _untried(space, seed, index, tried)


def _untried(space: Space, seed: int, index: int, tried: set[Items]) -> dict[str, str] | None:
    """Return the first combination of random search that was not tried, from the trial's own index on."""
    last = max(index, len(tried)) + 1
    for position in (*range(index, last + 1), *range(index)):
        combination = random_search.drawn(space, seed, position)
        if combination is not None and tuple(combination.items()) not in tried:
            return combination
    return None


def _has_result(trial: Told) -> bool:
    stopped = trial.state is State.STOPPED
    return trial.result is not None or (stopped and any(map(math.isfinite, trial.steps.values())))
