"""What to do next for an Experiment: which trials to start or stop, which runs to end, which Jobs to remove."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from modelyard.api.experiment import Experiment, MetricBound
from modelyard.api.rollout import parse_duration
from modelyard.decide import sweep
from modelyard.decide.experiment_model import (
    JOB_TAG,
    MADE_BY_TAG,
    PARENT,
    TRIAL_TAG,
    Execution,
    Run,
    RunStatus,
    TrialJob,
)
from modelyard.decide.experiment_outcome import (
    ENDED,
    OBJECTIVE_MISSING,
    STOPPED,
    Phase,
    TrialState,
    assess,
    best_value,
    ranking,
    steps_of,
)
from modelyard.decide.experiment_trials import Search
from modelyard.decide.jobs import Failure, JobState
from modelyard.decide.sweep import State, Told

KEPT_JOBS = 20
"""How many ended Jobs stay, with their logs: the newest."""

__all__ = ["ENDED", "EndRun", "Phase", "Plan", "Seen", "TrialState", "broken_bounds", "plan"]


@dataclass(frozen=True)
class Seen:
    """What there is: all Jobs of the Experiment, the runs of this execution, and the running ones of others.

    `steps` are the objective's values by step, by run, where trials may be stopped by them.
    """

    now: datetime
    jobs: tuple[TrialJob, ...] = ()
    runs: tuple[Run, ...] = ()
    stale: tuple[Run, ...] = ()
    steps: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class EndRun:
    """A run to mark as ended."""

    run_id: str
    status: RunStatus


@dataclass(frozen=True)
class Plan:
    """What is to be done. Everything in it is still to do, so an empty plan means that all is as it should be."""

    states: tuple[TrialState, ...]
    size: int
    """How many trials there are, those to come among them."""

    parent: Run | None
    needs_parent: bool
    """A parent run is to be made, or `parent` counts."""

    start: tuple[TrialState, ...]
    settle: tuple[TrialState, ...]
    """Trials that failed or were given up, which their runs do not tell yet."""

    again: tuple[TrialState, ...]
    """Trials whose Job is to be made once more, since somebody removed its pod."""

    adopt: tuple[TrialState, ...]
    """Trials whose run does not name their Job yet."""

    end_runs: tuple[EndRun, ...]
    remove_jobs: tuple[TrialJob, ...]
    spare_jobs: tuple[TrialJob, ...]
    """Ended Jobs that make room for others where a quota counts Jobs; those to remove are among them."""

    ranking: tuple[Run, ...]
    """The runs that have the objective's metric, best first."""

    halted: str = ""
    """Why no further trial is started, where something says so."""

    ended: bool = False
    """Whether every trial has ended, and no other will be started."""

    done: bool = False
    """Whether, besides, the tracking server tells so of each: nothing is left to do about it."""

    @property
    def failed(self) -> tuple[TrialState, ...]:
        """The trials that failed."""
        return tuple(state for state in self.states if state.phase is Phase.FAILED)

    @property
    def misses_objective(self) -> bool:
        """Whether a trial is about to be told to have failed for want of the objective's metric."""
        return any(state.failure and state.failure.reason == OBJECTIVE_MISSING for state in self.settle)

    @property
    def has_failed(self) -> bool:
        """Whether the execution as a whole has failed: no trial succeeded, or too many failed."""
        return self.done and (self.too_many_failed or not any(s.phase is Phase.SUCCEEDED for s in self.states))

    too_many_failed: bool = False


def plan(experiment: Experiment, execution: Execution, search: Search, seen: Seen) -> Plan:
    """Return what to do for `execution`."""
    runs = sorted(seen.runs, key=lambda run: (run.start_time, run.run_id))
    states = _judged(experiment, _states(experiment, execution, search, seen.jobs, runs), seen)
    parent = next((run for run in runs if run.tags.get(TRIAL_TAG) == PARENT), None)
    too_many = _too_many_failed(experiment, states)
    halted = too_many or _out_of_time(experiment, seen.now)
    start, size = _start(experiment, search, states, seen, halted)
    ended = all(state.phase in ENDED for state in states)
    ended = ended and ((not start and not experiment.spec.suspend) or 0 < len(states) >= size)
    made = Plan(
        states=states,
        size=size,
        parent=parent,
        needs_parent=experiment.spec.sweep is not None,
        start=start,
        settle=tuple(state for state in states if _untold(state)),
        again=tuple(state for state in states if state.lost),
        adopt=tuple(state for state in states if state.job and state.run and not state.run.tags.get(JOB_TAG)),
        end_runs=(),
        remove_jobs=tuple(_removable(execution, states, seen.jobs)),
        spare_jobs=_spare(states),
        ranking=ranking(states, experiment.spec.objective),
        halted=halted,
        ended=ended,
        done=ended and all(_is_told(state) for state in states),
        too_many_failed=bool(too_many),
    )
    return replace(made, end_runs=tuple(_ends(made, runs, seen.stale)))


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


def _states(
    experiment: Experiment, execution: Execution, search: Search, jobs: Sequence[TrialJob], runs: Sequence[Run]
) -> tuple[TrialState, ...]:
    """Return the trials that have a run or a Job, by their index."""
    by_index: dict[int, list[Run]] = defaultdict(list)
    others: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.tags.get(TRIAL_TAG, "").isdigit():
            by_index[int(run.tags[TRIAL_TAG])].append(run)
        elif maker := run.tags.get(MADE_BY_TAG):
            others[maker].append(run)
    mine = {job.index: job for job in jobs if job.execution == execution.id and _is_present(job, by_index[job.index])}
    states = []
    for index in sorted(set(by_index) | set(mine)):
        found = by_index[index]
        trial = search.recall(index, found[0]) if found else search.trial(index, {})
        made = [other for run in found for other in others[run.run_id]]
        states.append(assess(trial, mine.get(index), found, made, experiment.spec.objective))
    return tuple(state for state in states if state.run or state.job)


def _is_present(job: TrialJob, runs: Sequence[Run]) -> bool:
    """Whether this is the Job that counts: one of an earlier attempt does not any more."""
    return not runs or job.attempt >= runs[0].attempt


def _judged(experiment: Experiment, states: tuple[TrialState, ...], seen: Seen) -> tuple[TrialState, ...]:
    """Give up trials that are hopeless by what they have logged so far."""
    asked, objective = experiment.spec.sweep, experiment.spec.objective
    stopping = asked.early_stopping if asked else None
    if stopping is None or objective is None:
        return states
    told = {state.trial.index: _told(experiment, state, seen) for state in states}
    judged = []
    for state in states:
        why = None
        if state.phase is Phase.RUNNING:
            others = [each for index, each in told.items() if index != state.trial.index]
            why = sweep.hopeless(stopping, objective.goal, steps_of(state, seen.steps), others)
        judged.append(replace(state, phase=Phase.STOPPED, failure=Failure(STOPPED, why)) if why else state)
    return tuple(judged)


_TOLD: dict[Phase, State] = {Phase.SUCCEEDED: State.SUCCEEDED, Phase.FAILED: State.FAILED, Phase.STOPPED: State.STOPPED}


def _told(experiment: Experiment, state: TrialState, seen: Seen) -> Told:
    return Told(
        index=state.trial.index,
        parameters=state.trial.swept,
        state=_TOLD.get(state.phase, State.RUNNING),
        value=best_value(state, experiment.spec.objective),
        steps=steps_of(state, seen.steps),
    )


def _too_many_failed(experiment: Experiment, states: Sequence[TrialState]) -> str:
    limit = experiment.spec.sweep.max_failed_trials if experiment.spec.sweep else None
    count = sum(state.phase is Phase.FAILED for state in states)
    if limit is None or count <= limit:
        return ""
    return f"{count} trials failed, more than spec.sweep.maxFailedTrials {limit}"


def _out_of_time(experiment: Experiment, now: datetime) -> str:
    limit = experiment.spec.sweep.max_duration if experiment.spec.sweep else None
    started = experiment.status.started_at
    if limit is None or started is None or now < datetime.fromisoformat(started) + parse_duration(limit):
        return ""
    return f"spec.sweep.maxDuration {limit} has passed"


def _start(
    experiment: Experiment, search: Search, states: Sequence[TrialState], seen: Seen, halted: str
) -> tuple[tuple[TrialState, ...], int]:
    """Return the trials to start for which there is room, those that have a run already first; and how many there are.

    What was begun is brought to its end, also where nothing new is to be started.
    """
    parallelism = experiment.spec.sweep.parallelism if experiment.spec.sweep else 1
    room = max(parallelism - sum(state.phase is Phase.RUNNING for state in states), 0)
    pending = [state for state in states if state.phase is Phase.PENDING and not state.lost]
    lost = sum(state.lost for state in states)
    if experiment.spec.suspend:
        return (), max(search.size, len(states))
    start = pending[:room]
    if halted:
        return tuple(start), len(states)
    history = [_told(experiment, state, seen) for state in states]
    known, size = {state.trial.index for state in states}, search.size
    free = (index for index in itertools.count() if index not in known)
    for index in itertools.islice(free, max(room - len(start) - lost, 0)):
        trial = search.next(index, history)
        if trial is None:
            return tuple(start), len(states) + sum(state.run is None for state in start)
        start.append(TrialState(trial, None, None, Phase.PENDING))
        history.append(Told(index=index, parameters=trial.swept, state=State.RUNNING, value=None, steps={}))
    return tuple(start), max(size, len(states))


def _untold(state: TrialState) -> bool:
    """Whether the run does not tell yet that its trial failed, or was given up."""
    return state.phase in (Phase.FAILED, Phase.STOPPED) and state.run is not None and not state.recorded


def _is_told(state: TrialState) -> bool:
    """Whether the tracking server has all about a trial that has ended."""
    return state.phase in ENDED and not _untold(state) and (state.run is None or state.run.ended)


def _removable(execution: Execution, states: Sequence[TrialState], jobs: Sequence[TrialJob]) -> Iterable[TrialJob]:
    """Yield the Jobs of other executions, of earlier attempts and of trials that were given up; of the ended ones all
    but the newest few, once all about them is in the tracking server.
    """
    counted = {state.job.uid for state in states if state.job and not state.lost}
    yield from (job for job in jobs if job.execution != execution.id)
    yield from (job for job in jobs if job.execution == execution.id and job.uid not in counted)
    settled = (state for state in states if state.run and state.phase in ENDED and not _untold(state))
    yield from (state.job for state in settled if state.job and state.job.state is JobState.ACTIVE)
    ended = _spare(states)
    yield from ended[: max(len(ended) - KEPT_JOBS, 0)]


def _spare(states: Sequence[TrialState]) -> tuple[TrialJob, ...]:
    """Return the ended Jobs that are there for their logs alone, oldest first."""
    told = (state for state in states if state.run and _is_told(state))
    return tuple(state.job for state in told if state.job and state.job.state is not JobState.ACTIVE)


def _ends(made: Plan, runs: Sequence[Run], stale: Sequence[Run]) -> Iterable[EndRun]:
    """Yield the runs that nobody else will end, or that are marked otherwise than they ended."""
    counted = {state.run.run_id for state in made.states if state.run}
    counted |= {run.run_id for state in made.states for run in state.others}
    counted |= {made.parent.run_id} if made.parent else set()
    superseded = (run for run in (*runs, *stale) if run.run_id not in counted and not run.ended)
    yield from (EndRun(run.run_id, RunStatus.KILLED) for run in superseded)
    for state in made.states:
        if state.phase not in ENDED or (state.phase is Phase.STOPPED and not state.recorded):
            # One that is to be given up may end well before it is told so, and then counts as it ended.
            continue
        status = _ENDS[state.phase]
        own = (state.run,) if state.run else ()
        yield from (EndRun(run.run_id, status) for run in (*own, *state.others) if not run.ended)
        if state.run and state.run.status is RunStatus.FINISHED and state.phase is not Phase.SUCCEEDED:
            yield EndRun(state.run.run_id, status)
    if made.parent and made.done and not made.parent.ended:
        yield EndRun(made.parent.run_id, RunStatus.FAILED if made.has_failed else RunStatus.FINISHED)


_ENDS = {
    Phase.SUCCEEDED: RunStatus.FINISHED,
    Phase.FAILED: RunStatus.FAILED,
    Phase.STOPPED: RunStatus.KILLED,
}
