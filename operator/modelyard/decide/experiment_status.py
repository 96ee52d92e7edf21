"""The status of an Experiment: what ran, what came of it, and why it is not done or has not succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import (
    BestRun,
    EnvironmentStatus,
    ExecutionSummary,
    ExecutionTrigger,
    ExperimentStatus,
    FailedTrial,
    LeaderboardEntry,
    RegisteredVersion,
    RunCounts,
    Trigger,
)
from modelyard.api.project_files import TrialEnvironment
from modelyard.api.reasons import ConditionType, Reason
from modelyard.decide.conditions import Verdict, conditions, kstatus, timestamp
from modelyard.decide.experiment import Phase, Plan, TrialState, broken_bounds
from modelyard.decide.experiment_model import Execution, Problem, Run
from modelyard.decide.experiment_outcome import OBJECTIVE_MISSING
from modelyard.decide.jobs import short

_SHOWN = 10
_METRICS_SHOWN = 100
_NAMES_SHOWN = 5
_VALUE_LIMIT = 250


@dataclass(frozen=True)
class Result:
    """What has come of an execution so far."""

    experiment_id: str
    plan: Plan
    registered: RegisteredVersion | Problem | None = None
    """What came of registering the best run, where that was tried."""

    notes: tuple[str, ...] = ()
    """What a person should know of how the project is run."""

    environment: TrialEnvironment | None = None


def pinned(experiment: Experiment, execution: Execution, now: datetime) -> ExperimentStatus:
    """Return the status with which an execution begins: it fixes the commit before anything is made."""
    verdict = _unknown(Reason.TRIALS_RUNNING, "the trials are starting")
    return _carried(
        experiment,
        execution,
        started_at=timestamp(now),
        runs=RunCounts(),
        executions=_executions(experiment, execution),
        conditions=_conditions(experiment, verdict, progressing=True, now=now),
    )


def troubled(experiment: Experiment, problem: Problem, execution: Execution | None, now: datetime) -> ExperimentStatus:
    """Return the status of an Experiment that cannot go on; results of the same execution stay to be seen."""
    before = experiment.status
    status = ConditionStatus.UNKNOWN if problem.transient else ConditionStatus.FALSE
    verdict = Verdict(ConditionType.SUCCEEDED, status, problem.reason, problem.message)
    said = _conditions(experiment, verdict, progressing=problem.transient, now=now)
    generation = experiment.metadata.generation
    if execution is None or execution.id == before.execution:
        update = {"observed_generation": generation, "finished_at": None, "conditions": said}
        return before.model_copy(update=update)
    executions = _executions(experiment, execution)
    return _carried(experiment, execution, executions=executions, conditions=said)


def waiting(experiment: Experiment, next_at: datetime, now: datetime) -> ExperimentStatus:
    """Return the status of an Experiment that runs when its schedule says so; what ran last stays to be seen."""
    before = experiment.status
    update = {"observed_generation": experiment.metadata.generation, "next_schedule_at": timestamp(next_at)}
    if before.execution is None:
        verdict = _unknown(Reason.SCHEDULED, f"it runs at {timestamp(next_at)}, as spec.schedule says")
        if experiment.spec.suspend:
            verdict = _unknown(Reason.SUSPENDED, "spec.suspend holds the schedule back")
        return before.model_copy(update={**update, "conditions": _conditions(experiment, verdict, now=now)})
    said = tuple(
        item.model_copy(update={"observed_generation": experiment.metadata.generation}) for item in before.conditions
    )
    return before.model_copy(update={**update, "conditions": said})


def progress(experiment: Experiment, execution: Execution, result: Result, now: datetime) -> ExperimentStatus:
    """Return the status of an execution that is running or has ended."""
    plan, registered = result.plan, result.registered
    before = experiment.status
    verdict = _verdict(experiment, plan, registered)
    note = "; ".join(result.notes)
    if note:
        verdict = Verdict(verdict.type, verdict.status, verdict.reason, f"{verdict.message}. Note: {note}")
    done = verdict.status is not ConditionStatus.UNKNOWN
    return _carried(
        experiment,
        execution,
        experiment_id=result.experiment_id,
        environment=_environment(result.environment),
        parent_run_id=plan.parent.run_id if plan.parent else None,
        started_at=before.started_at or timestamp(now),
        finished_at=(before.finished_at or timestamp(now)) if done else None,
        runs=_counts(plan),
        best_run=best_run(plan.ranking[0]) if plan.ranking else None,
        leaderboard=leaderboard(experiment, plan.ranking),
        failures=tuple(_failed(experiment, state) for state in plan.failed[:_SHOWN]),
        registered=registered if isinstance(registered, RegisteredVersion) else None,
        conditions=_conditions(experiment, verdict, progressing=not done and not experiment.spec.suspend, now=now),
    )


def _carried(experiment: Experiment, execution: Execution, **fields: Any) -> ExperimentStatus:
    """Return a status of this execution, with what outlives executions."""
    before, trigger = experiment.status, execution.trigger
    heeded = trigger.value if trigger.kind is Trigger.ANNOTATION else before.run_annotation
    due = trigger.value if trigger.kind is Trigger.SCHEDULE else before.last_schedule_at
    kept = {
        "experiment_id": before.experiment_id,
        "executions": before.executions,
        "clean_up": before.clean_up,
        "next_schedule_at": before.next_schedule_at if experiment.spec.schedule else None,
        "run_annotation": heeded,
        "last_schedule_at": due,
        "observed_generation": experiment.metadata.generation,
        "execution": execution.id,
        "trigger": trigger,
        "commit": execution.commit,
        "content": execution.content or None,
    }
    return ExperimentStatus(**{**kept, **fields})


def _executions(experiment: Experiment, execution: Execution) -> tuple[ExecutionSummary, ...]:
    """Return the executions of before, newest first: when another one begins the present one joins them."""
    before = experiment.status
    if before.execution is None or before.execution == execution.id:
        return before.executions
    best = before.leaderboard[0] if before.leaderboard else None
    summary = ExecutionSummary(
        id=before.execution,
        trigger=before.trigger or ExecutionTrigger(),
        commit=before.commit,
        parent_run_id=before.parent_run_id,
        started_at=before.started_at,
        finished_at=before.finished_at,
        runs=before.runs or RunCounts(),
        best_run_id=best.run_id if best else None,
        best_value=best.value if best else None,
        version=before.registered.version if before.registered else None,
        reason=before.conditions[0].reason if before.finished_at and before.conditions else "Replaced",
    )
    others = (item for item in before.executions if item.id not in (before.execution, execution.id))
    return (summary, *others)[:_SHOWN]


def _environment(environment: TrialEnvironment | None) -> EnvironmentStatus | None:
    if environment is None:
        return None
    return EnvironmentStatus(
        key=environment.key,
        image=environment.image,
        lock=environment.lock,
        packages=environment.packages,
        message=short(environment.message),
    )


def to_register(experiment: Experiment, plan: Plan) -> Run | None:
    """Return the run whose model is to be registered: the best of an execution that has not failed."""
    register = experiment.spec.register_
    if register is None or not plan.done or plan.has_failed or not plan.ranking:
        return None
    best = plan.ranking[0]
    return None if broken_bounds(register.when, best) else best


def is_over(experiment: Experiment, execution: Execution | None) -> bool:
    """Whether the status says that this execution has ended, as the present spec sees it.

    None stands for one that cannot be named: what has ended stays ended, whatever becomes of its source.
    """
    status = experiment.status
    return (
        status.finished_at is not None
        and status.observed_generation == experiment.metadata.generation
        and (execution is None or execution.id == status.execution)
    )


def _verdict(experiment: Experiment, plan: Plan, registered: RegisteredVersion | Problem | None) -> Verdict:
    if not plan.done:
        suspended = experiment.spec.suspend and not any(state.phase is Phase.RUNNING for state in plan.states)
        return _unknown(Reason.SUSPENDED if suspended else Reason.TRIALS_RUNNING, _running_message(experiment, plan))
    if plan.has_failed:
        missing = [state for state in plan.failed if state.failure and state.failure.reason == OBJECTIVE_MISSING]
        reason = Reason.OBJECTIVE_MISSING if len(missing) == len(plan.states) > 0 else Reason.TRIALS_FAILED
        return _failed_verdict(reason, _failed_message(plan))
    objective = experiment.spec.objective
    summary = _summary(plan)
    if not objective:
        return _completed(summary)
    if not plan.ranking:
        return _failed_verdict(Reason.OBJECTIVE_MISSING, f"{summary}; no run has a finite {objective.metric}")
    best = plan.ranking[0]
    value = f"{best.metrics[objective.metric]:.6g}"
    return _registration(
        experiment, best, f"{summary}; best is {best.name} with {objective.metric} {value}", registered
    )


def _summary(plan: Plan) -> str:
    """Return how the trials of an execution ended that has not failed."""
    counts = _counts(plan)
    ended = counts.succeeded + counts.failed + counts.stopped
    parts = [f"{_plural(counts.succeeded, 'trial')} succeeded"]
    if ended > counts.succeeded:
        parts = [f"{counts.succeeded} of {_plural(ended, 'trial')} succeeded"]
    if counts.stopped:
        parts.append(f"{counts.stopped} stopped early")
    if plan.failed:
        parts.append(f"{counts.failed} failed ({_failure_words(plan.failed[0])})")
    if plan.halted:
        parts.append(f"no more were started: {plan.halted}")
    return "; ".join(parts)


def _registration(
    experiment: Experiment, best: Run, summary: str, registered: RegisteredVersion | Problem | None
) -> Verdict:
    register = experiment.spec.register_
    if register is None:
        return _completed(summary)
    if broken := broken_bounds(register.when, best):
        return _failed_verdict(Reason.NOT_GOOD_ENOUGH, f"{summary}; not registered: {', '.join(broken)}")
    if isinstance(registered, Problem):
        made = _unknown if registered.transient else _failed_verdict
        return made(registered.reason, f"{summary}; {registered.message}")
    if registered is None:
        return _unknown(Reason.TRIALS_RUNNING, f"{summary}; it is about to be registered")
    return _completed(f"{summary}; registered as version {registered.version} of {registered.model}")


def _completed(message: str) -> Verdict:
    return Verdict(ConditionType.SUCCEEDED, ConditionStatus.TRUE, Reason.COMPLETED, message)


def _unknown(reason: Reason, message: str) -> Verdict:
    return Verdict(ConditionType.SUCCEEDED, ConditionStatus.UNKNOWN, reason, message)


def _failed_verdict(reason: Reason, message: str) -> Verdict:
    return Verdict(ConditionType.SUCCEEDED, ConditionStatus.FALSE, reason, message)


def _running_message(experiment: Experiment, plan: Plan) -> str:
    counts = _counts(plan)
    ended = counts.succeeded + counts.failed + counts.stopped
    parts = [f"{ended} of {_plural(counts.total, 'trial')} ended"]
    told = ((counts.failed, "failed"), (counts.stopped, "stopped early"))
    parts += [f"{count} {word}" for count, word in told if count]
    if experiment.spec.suspend:
        parts.append("spec.suspend holds the others back")
    if plan.halted:
        parts.append(f"no more are started: {plan.halted}")
    if names := [state.trial.name for state in plan.states if state.phase is Phase.RUNNING and not state.waits]:
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        parts.append(f"running: {', '.join(names[:_NAMES_SHOWN])}{more}")
    stuck = [(state.trial.name, state.waits) for state in plan.states if state.waits]
    parts += [f"{name} waits: {what}" for name, what in stuck[:1]]
    return "; ".join(parts)


def _failed_message(plan: Plan) -> str:
    named = [_failure_words(state) for state in plan.failed[:_NAMES_SHOWN]]
    more = f"; and {len(plan.failed) - _NAMES_SHOWN} more" if len(plan.failed) > _NAMES_SHOWN else ""
    halted = f" (no more were started: {plan.halted})" if plan.halted else ""
    return f"{len(plan.failed)} of {_plural(len(plan.states), 'trial')} failed: {'; '.join(named)}{more}{halted}"


def _failure_words(state: TrialState) -> str:
    failure = state.failure
    assert failure is not None
    return f"{state.trial.name}: {failure.reason}: {failure.message}" if failure.message else state.trial.name


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counts(plan: Plan) -> RunCounts:
    phases = [state.phase for state in plan.states]
    total = len(phases) if plan.done else max(plan.size, len(phases))
    begun = {phase: phases.count(phase) for phase in Phase}
    # A Job whose pod a queue or a quota holds back runs nothing yet.
    held = sum(1 for state in plan.states if state.waits)
    return RunCounts(
        total=total,
        pending=total - len(phases) + begun[Phase.PENDING] + held,
        running=begun[Phase.RUNNING] - held,
        succeeded=begun[Phase.SUCCEEDED],
        failed=begun[Phase.FAILED],
        stopped=begun[Phase.STOPPED],
    )


def best_run(run: Run) -> BestRun:
    """Return what the status tells of the best run."""
    metrics = sorted(run.metrics.items())[:_METRICS_SHOWN]
    parameters = sorted(run.parameters.items())[:_METRICS_SHOWN]
    return BestRun(
        run_id=run.run_id,
        name=short(run.name, _VALUE_LIMIT),
        parameters={name: short(value, _VALUE_LIMIT) for name, value in parameters},
        metrics={name: str(value) for name, value in metrics},
        datasets=run.datasets[:_SHOWN],
    )


def leaderboard(experiment: Experiment, ranking: Sequence[Run]) -> tuple[LeaderboardEntry, ...]:
    """Return the best runs, with their objective."""
    objective = experiment.spec.objective
    if objective is None:
        return ()
    return tuple(
        LeaderboardEntry(
            run_id=run.run_id, name=short(run.name, _VALUE_LIMIT), value=f"{run.metrics[objective.metric]:.6g}"
        )
        for run in ranking[:_SHOWN]
    )


def _failed(experiment: Experiment, state: TrialState) -> FailedTrial:
    failure, run_id = state.failure, state.run.run_id if state.run else ""
    assert failure is not None
    for known in experiment.status.failures:
        # Pods go before their Job does; what they said is worth more than what the Job says without them.
        if run_id and known.run_id == run_id and failure.reason == "BackoffLimitExceeded":
            return known
    return FailedTrial(name=state.trial.name, run_id=run_id, reason=failure.reason, message=short(failure.message))


def _conditions(
    experiment: Experiment, verdict: Verdict, *, progressing: bool = False, now: datetime
) -> tuple[Condition, ...]:
    stalled = verdict.status is ConditionStatus.FALSE
    verdicts = kstatus(verdict, progressing=progressing, stalled=stalled)
    return conditions(experiment.status.conditions, verdicts, experiment.metadata.generation, now)
