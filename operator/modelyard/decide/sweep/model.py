"""What a sweep's decisions are made of: what is known of the trials so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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
