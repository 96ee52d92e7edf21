"""Sweeps, decided: what a trial tries next, and whether one that runs is hopeless. Pure.

`check` comes first: the others take for granted that it found nothing wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelyard.api.experiment import Goal
from modelyard.api.sweep import TRIALS_LIMIT, Sweep, SweepAlgorithm
from modelyard.decide.sweep import bayesian, random_search
from modelyard.decide.sweep.model import State, Told
from modelyard.decide.sweep.problems import check
from modelyard.decide.sweep.space import Space, space_of
from modelyard.decide.sweep.stopping import hopeless

__all__ = ["State", "Told", "check", "hopeless", "propose", "size"]


def size(sweep: Sweep, types: Mapping[str, str]) -> int:
    """Return how many trials there are at most.

    `types` are the entry point's types of the parameters that it declares: int, float, string, path or uri.
    """
    return _size(sweep, space_of(sweep, types))


def propose(
    sweep: Sweep, goal: Goal | None, types: Mapping[str, str], index: int, history: Sequence[Told]
) -> dict[str, str] | None:
    """Return the swept parameters of the trial with an index, by name, or None where nothing is left to try.

    Those that are inactive by their `when` are not in it. Values are strings as they are logged and given to the
    program. Grid and Random do not look at `history`; Bayesian does at all but the trial itself.
    """
    space = space_of(sweep, types)
    if index >= _size(sweep, space):
        return None
    if sweep.algorithm is SweepAlgorithm.GRID:
        return space.combination(index)
    if sweep.algorithm is SweepAlgorithm.RANDOM or goal is None:
        return random_search.drawn(space, sweep.seed, index)
    return bayesian.suggested(space, goal, sweep.seed, index, history)


def _size(sweep: Sweep, space: Space) -> int:
    limits = (TRIALS_LIMIT, sweep.max_trials, space.count)
    return min(limit for limit in limits if limit is not None)
