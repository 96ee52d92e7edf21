"""What to do next for an Experiment: which trials to start, which runs to end, which Jobs to remove."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from modelyard.api.experiment import Experiment, Goal, MetricBound, Objective
from modelyard.decide.experiment_model import (
    PARENT,
    TRIAL_TAG,
    Run,
    RunStatus,
    Trial,
    TrialJob,
)
from modelyard.decide.jobs import Failure, JobState

OBJECTIVE_MISSING = "ObjectiveMissing"
_LARGEST = 1.7e308
"""MLflow's SQL store keeps infinities as the largest double."""


class Phase(StrEnum):
    """How a trial stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


ENDED = (Phase.SUCCEEDED, Phase.FAILED)


@dataclass(frozen=True)
class TrialState:
    """A trial with its run and its Job, as far as it has them."""

    trial: Trial
    run: Run | None
    job: TrialJob | None
    phase: Phase
    failure: Failure | None = None


@dataclass(frozen=True)
class Seen:
    """What there is: all Jobs of the Experiment, the runs of this execution, and the running ones of others."""

    jobs: tuple[TrialJob, ...] = ()
    runs: tuple[Run, ...] = ()
    stale: tuple[Run, ...] = ()


@dataclass(frozen=True)
class EndRun:
    """A run to mark as ended."""

    run_id: str
    status: RunStatus


@dataclass(frozen=True)
class Plan:
    """What is to be done. Everything in it is still to do, so an empty plan means that all is as it should be."""

    states: tuple[TrialState, ...]
    parent: Run | None
    needs_parent: bool
    """A parent run is to be made, or `parent` counts."""

    start: tuple[TrialState, ...]
    end_runs: tuple[EndRun, ...]
    remove_jobs: tuple[TrialJob, ...]
    ranking: tuple[Run, ...]
    """The runs that have the objective's metric, best first."""

    @property
    def done(self) -> bool:
        """Whether every trial has ended."""
        return all(state.phase in ENDED for state in self.states)

    @property
    def failed(self) -> tuple[TrialState, ...]:
        """The trials that failed."""
        return tuple(state for state in self.states if state.phase is Phase.FAILED)


def plan(experiment: Experiment, execution: str, trials: Sequence[Trial], seen: Seen) -> Plan:
    """Return what to do for `execution`."""
    jobs, runs = seen.jobs, sorted(seen.runs, key=lambda run: (run.start_time, run.run_id))
    current = {job.index: job for job in jobs if job.execution == execution}
    objective = experiment.spec.objective
    states = tuple(
        _assess(trial, current.get(trial.index), _candidates(runs, str(trial.index)), objective) for trial in trials
    )
    parent = next(iter(_candidates(runs, PARENT)), None)
    counted = {state.run.run_id for state in states if state.run} | ({parent.run_id} if parent else set())
    superseded = [run for run in (*runs, *seen.stale) if run.run_id not in counted and not run.ended]
    ends = [EndRun(run.run_id, RunStatus.KILLED) for run in superseded]
    ends += [end for state in states if (end := _end(state)) is not None]
    done = all(state.phase in ENDED for state in states)
    if parent and done and not parent.ended:
        failed = any(state.phase is Phase.FAILED for state in states)
        ends.append(EndRun(parent.run_id, RunStatus.FAILED if failed else RunStatus.FINISHED))
    return Plan(
        states=states,
        parent=parent,
        needs_parent=experiment.spec.sweep is not None,
        start=_startable(experiment, states),
        end_runs=tuple(ends),
        remove_jobs=tuple(job for job in jobs if job.execution != execution),
        ranking=_ranking(states, objective),
    )


def broken_bounds(bounds: Iterable[MetricBound], run: Run) -> tuple[str, ...]:
    """Return what the run's metrics break, each in words."""
    broken = []
    for bound in bounds:
        value = run.metrics.get(bound.metric)
        if value is None or math.isnan(value):
            broken.append(f"it has no {bound.metric}")
            continue
        if bound.min is not None and Decimal(str(value)) < Decimal(bound.min):
            broken.append(f"{bound.metric} {value:.6g} is below min {bound.min}")
        if bound.max is not None and Decimal(str(value)) > Decimal(bound.max):
            broken.append(f"{bound.metric} {value:.6g} is above max {bound.max}")
    return tuple(broken)


def _candidates(runs: Iterable[Run], trial: str) -> tuple[Run, ...]:
    return tuple(run for run in runs if run.tags.get(TRIAL_TAG) == trial)


def _assess(trial: Trial, job: TrialJob | None, runs: Sequence[Run], objective: Objective | None) -> TrialState:
    """Work out a trial's phase. Of several runs that of the Job counts, else the first: the others are of no use."""
    run = next((run for run in runs if job and run.run_id == job.run_id), runs[0] if runs else None)
    if job is None:
        if run is None or not run.ended:
            return TrialState(trial, run, job, Phase.PENDING)
        return _ended(trial, run, None, objective)
    if job.state is JobState.ACTIVE:
        return TrialState(trial, run, job, Phase.RUNNING)
    if job.state is JobState.FAILED:
        return TrialState(trial, run, job, Phase.FAILED, job.failure)
    if run is None:
        lost = Failure("RunMissing", f"run {job.run_id} is not in the tracking server")
        return TrialState(trial, run, job, Phase.FAILED, lost)
    return _ended(trial, run, job, objective)


def _ended(trial: Trial, run: Run, job: TrialJob | None, objective: Objective | None) -> TrialState:
    if run.status in (RunStatus.FAILED, RunStatus.KILLED):
        failure = Failure("RunFailed", f"the run ended as {run.status}")
        return TrialState(trial, run, job, Phase.FAILED, failure)
    if objective and objective.metric not in run.metrics:
        failure = Failure(OBJECTIVE_MISSING, f"the run ended without the metric {objective.metric}")
        return TrialState(trial, run, job, Phase.FAILED, failure)
    return TrialState(trial, run, job, Phase.SUCCEEDED)


def _end(state: TrialState) -> EndRun | None:
    """Return how to end a run whose Job has ended without doing it."""
    if state.run is None or state.run.ended or state.job is None or state.job.state is JobState.ACTIVE:
        return None
    status = RunStatus.FAILED if state.job.state is JobState.FAILED else RunStatus.FINISHED
    return EndRun(state.run.run_id, status)


def _startable(experiment: Experiment, states: Sequence[TrialState]) -> tuple[TrialState, ...]:
    """Return the pending trials for which there is room, those that have a run already first."""
    parallelism = experiment.spec.sweep.parallelism if experiment.spec.sweep else 1
    room = parallelism - sum(state.phase is Phase.RUNNING for state in states)
    pending = sorted((s for s in states if s.phase is Phase.PENDING), key=lambda s: (s.run is None, s.trial.index))
    return tuple(pending[: max(room, 0)])


def _ranking(states: Iterable[TrialState], objective: Objective | None) -> tuple[Run, ...]:
    """Return the runs by objective; equal ones in the order of their trials. NaN and infinities never win."""
    if objective is None:
        return ()
    sign = -1 if objective.goal is Goal.MAXIMIZE else 1
    valued = [
        (sign * value, state.run)
        for state in states
        if state.run and state.phase is Phase.SUCCEEDED
        if math.isfinite(value := state.run.metrics[objective.metric]) and abs(value) < _LARGEST
    ]
    return tuple(run for _, run in sorted(valued, key=lambda pair: pair[0]))
