"""How each trial of an Experiment stands, by its run and its Job."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from modelyard.api.experiment import Goal, Objective
from modelyard.decide.experiment_model import (
    JOB_TAG,
    MESSAGE_TAG,
    OUTCOME_TAG,
    POD_DELETED,
    Run,
    RunStatus,
    Trial,
    TrialJob,
)
from modelyard.decide.jobs import Failure, JobState

OBJECTIVE_MISSING = "ObjectiveMissing"
STOPPED = "Stopped"
"""Outcome of a trial that was given up early."""

ATTEMPTS = 3
"""How often a trial's pod may be removed by somebody before the trial counts as failed."""

_LARGEST = 1.7e308
"""MLflow's SQL store keeps infinities as the largest double."""


class Phase(StrEnum):
    """How a trial stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"


ENDED = (Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED)


@dataclass(frozen=True)
class TrialState:
    """A trial with its run and its Job, as far as it has them, and what its program logged as runs of their own."""

    trial: Trial
    run: Run | None
    job: TrialJob | None
    phase: Phase
    failure: Failure | None = None
    """Why it failed, or was stopped."""

    others: tuple[Run, ...] = ()
    lost: bool = False
    """Its pod was removed by somebody: it is run again."""

    @property
    def recorded(self) -> bool:
        """Whether the run tells why the trial failed or was stopped."""
        return self.run is not None and OUTCOME_TAG in self.run.tags

    @property
    def waits(self) -> str | None:
        """What keeps its pod from starting, if it has a Job and something does."""
        return self.job.waiting if self.job and self.phase is Phase.RUNNING else None

    @property
    def results(self) -> tuple[Run, ...]:
        """The runs that count as results of the trial."""
        own = (self.run,) if self.run else ()
        return (*own, *self.others) if self.phase is Phase.SUCCEEDED else ()


def assess(
    trial: Trial, job: TrialJob | None, runs: Sequence[Run], others: Sequence[Run], objective: Objective | None
) -> TrialState:
    """Work out a trial's phase. Of several runs that of the Job counts, else the first: the others are of no use."""
    run = next((run for run in runs if job and run.run_id == job.run_id), runs[0] if runs else None)
    mine = tuple(other for other in others if run and other.tags.get("mlflow.parentRunId") == run.run_id)
    phase, failure = _phase(job, run, mine, objective)
    lost = failure is not None and failure.reason == POD_DELETED and run is not None and run.attempt < ATTEMPTS
    if lost:
        return TrialState(trial, run, job, Phase.PENDING, None, mine, lost=True)
    return TrialState(trial, run, job, phase, failure, mine)


def _phase(
    job: TrialJob | None, run: Run | None, others: Sequence[Run], objective: Objective | None
) -> tuple[Phase, Failure | None]:
    if run is not None and (outcome := run.tags.get(OUTCOME_TAG)):
        phase = Phase.STOPPED if outcome == STOPPED else Phase.FAILED
        return phase, Failure(outcome, run.tags.get(MESSAGE_TAG, ""))
    if job is None:
        return _without_job(run, others, objective)
    if job.state is JobState.ACTIVE:
        return Phase.RUNNING, None
    if job.state is JobState.FAILED:
        return Phase.FAILED, job.failure
    if run is None:
        return Phase.FAILED, Failure("RunMissing", f"run {job.run_id} is not in the tracking server")
    return _ended(run, others, objective)


def _without_job(run: Run | None, others: Sequence[Run], objective: Objective | None) -> tuple[Phase, Failure | None]:
    if run is None or (not run.ended and not run.tags.get(JOB_TAG)):
        return Phase.PENDING, None
    if not run.ended:
        return Phase.FAILED, Failure("JobDeleted", "its Job was deleted by somebody")
    return _ended(run, others, objective)


def _ended(run: Run, others: Sequence[Run], objective: Objective | None) -> tuple[Phase, Failure | None]:
    if run.status in (RunStatus.FAILED, RunStatus.KILLED):
        return Phase.FAILED, Failure("RunFailed", f"the run ended as {run.status}")
    if objective and not any(objective.metric in each.metrics for each in (run, *others)):
        missing = f"the program ended well, but without logging the metric {objective.metric}"
        return Phase.FAILED, Failure(OBJECTIVE_MISSING, missing)
    return Phase.SUCCEEDED, None


def value_of(run: Run, objective: Objective) -> float | None:
    """Return the run's objective; None where it has none, or one with which nothing can be compared."""
    value = run.metrics.get(objective.metric)
    return value if value is not None and math.isfinite(value) and abs(value) < _LARGEST else None


def ranking(states: Iterable[TrialState], objective: Objective | None) -> tuple[Run, ...]:
    """Return the runs that have the objective, best first; equal ones in the order of their trials."""
    return ranked((run for state in states for run in state.results), objective)


def ranked(runs: Iterable[Run], objective: Objective | None) -> tuple[Run, ...]:
    """Return those runs that have the objective, best first; equal ones in their order."""
    if objective is None:
        return ()
    sign = -1 if objective.goal is Goal.MAXIMIZE else 1
    valued = [(sign * value, run) for run in runs if (value := value_of(run, objective)) is not None]
    return tuple(run for _, run in sorted(valued, key=lambda pair: pair[0]))


def best_value(state: TrialState, objective: Objective | None) -> float | None:
    """Return the best objective among a trial's results."""
    ranked = ranking((state,), objective)
    return value_of(ranked[0], objective) if ranked and objective else None


def steps_of(state: TrialState, steps: Mapping[str, Mapping[int, float]]) -> Mapping[int, float]:
    """Return the objective's values by step that a trial has logged so far."""
    return steps.get(state.run.run_id, {}) if state.run else {}
