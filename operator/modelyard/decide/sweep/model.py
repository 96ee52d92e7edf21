"""What a sweep's decisions are made of: what is known of the trials so far."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import accumulate

from modelyard.api.experiment import Goal


class State(StrEnum):
    """How a trial stands. `STOPPED` is one that was given up early."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Told:
    """One trial: its index from 0, its swept parameters as they were proposed, and what came of it.

    `value` is the objective's metric at the end, `steps` its value by the step at which it was logged.
    """

    index: int
    parameters: Mapping[str, str]
    state: State
    value: float | None = None
    steps: Mapping[int, float] = field(default_factory=dict)

    @property
    def result(self) -> float | None:
        """The objective of a trial that succeeded, where that is a number: no NaN, no infinity."""
        if self.state is not State.SUCCEEDED or self.value is None or not math.isfinite(self.value):
            return None
        return self.value

    @cached_property
    def curve(self) -> Curve:
        """The steps, to be looked up many times: each of the trials that run is compared with all others."""
        return Curve(self.steps)


class Curve:
    """The best values of a trial by its steps, without those that are no finite numbers."""

    def __init__(self, steps: Mapping[int, float]) -> None:
        self._steps = sorted(steps)
        finite = [steps[step] if math.isfinite(steps[step]) else None for step in self._steps]
        self._highest = list(accumulate(finite, _better(max)))
        self._lowest = list(accumulate(finite, _better(min)))

    @property
    def last(self) -> int:
        """The last step, or -1."""
        return self._steps[-1] if self._steps else -1

    def best(self, goal: Goal, until: int) -> float | None:
        """Return the best value logged up to a step, or None."""
        return self._best(goal, bisect_right(self._steps, until) - 1)

    def arrived(self, goal: Goal, rung: int) -> float | None:
        """Return the best value when the trial reached a step: at it, or at the first one that it logged after it."""
        position = bisect_left(self._steps, rung)
        return self._best(goal, position) if position < len(self._steps) else None

    def _best(self, goal: Goal, position: int) -> float | None:
        if position < 0:
            return None
        return self._highest[position] if goal is Goal.MAXIMIZE else self._lowest[position]


def _better(choose: Callable[[float, float], float]) -> Callable[[float | None, float | None], float | None]:
    def better(best: float | None, value: float | None) -> float | None:
        if best is None or value is None:
            return value if best is None else best
        return choose(best, value)

    return better
