"""The status of an Experiment: what ran, what came of it, and why it is not done or has not succeeded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import (
    BestRun,
    ExperimentStatus,
    FailedTrial,
    LeaderboardEntry,
    RegisteredVersion,
    RunCounts,
)
from modelyard.api.reasons import ConditionType, Reason
from modelyard.decide.conditions import Verdict, conditions, kstatus, timestamp
from modelyard.decide.experiment import OBJECTIVE_MISSING, Phase, Plan, TrialState, broken_bounds
from modelyard.decide.experiment_model import Problem, Run
from modelyard.decide.jobs import short

_SHOWN = 10
_METRICS_SHOWN = 100
_NAMES_SHOWN = 5
_VALUE_LIMIT = 250


@dataclass(frozen=True)
class Execution:
    """What is run: named by its hash, with the commit where the project is in git."""

    id: str
    commit: str | None = None


@dataclass(frozen=True)
class Result:
    """What has come of an execution so far."""

    experiment_id: str
    plan: Plan
    registered: RegisteredVersion | Problem | None = None
    """What came of registering the best run, where that was tried."""

    notes: tuple[str, ...] = ()
    """What a person should know of how the project is run."""


def pinned(experiment: Experiment, execution: Execution, now: datetime) -> ExperimentStatus:
    """Return the status with which an execution begins: it fixes the commit before anything is made."""
    verdict = Verdict(
        ConditionType.SUCCEEDED, ConditionStatus.UNKNOWN, Reason.TRIALS_RUNNING, "the trials are starting"
    )
    before = experiment.status
    return ExperimentStatus(
        observed_generation=experiment.metadata.generation,
        experiment_id=before.experiment_id,
        execution=execution.id,
        commit=execution.commit,
        started_at=timestamp(now),
        runs=RunCounts(),
        conditions=_conditions(experiment, verdict, progressing=True, now=now),
    )


def troubled(experiment: Experiment, problem: Problem, execution: Execution | None, now: datetime) -> ExperimentStatus:
    """Return the status of an Experiment that cannot go on; results of the same execution stay to be seen."""
    before = experiment.status
    kept = before if execution is None or execution.id == before.execution else ExperimentStatus()
    status = ConditionStatus.UNKNOWN if problem.transient else ConditionStatus.FALSE
    verdict = Verdict(ConditionType.SUCCEEDED, status, problem.reason, problem.message)
    return kept.model_copy(
        update={
            "observed_generation": experiment.metadata.generation,
            "execution": execution.id if execution else before.execution,
            "commit": execution.commit if execution else before.commit,
            "finished_at": None,
            "conditions": _conditions(experiment, verdict, progressing=problem.transient, now=now),
        }
    )


def progress(experiment: Experiment, execution: Execution, result: Result, now: datetime) -> ExperimentStatus:
    """Return the status of an execution that is running or has ended."""
    plan, registered = result.plan, result.registered
    before = experiment.status
    verdict = _verdict(experiment, plan, registered)
    note = "; ".join(result.notes)
    if note:
        verdict = Verdict(verdict.type, verdict.status, verdict.reason, f"{verdict.message}. Note: {note}")
    done = verdict.status is not ConditionStatus.UNKNOWN
    return ExperimentStatus(
        observed_generation=experiment.metadata.generation,
        experiment_id=result.experiment_id,
        execution=execution.id,
        commit=execution.commit,
        parent_run_id=plan.parent.run_id if plan.parent else None,
        started_at=before.started_at or timestamp(now),
        finished_at=(before.finished_at or timestamp(now)) if done else None,
        runs=_counts(plan),
        best_run=_best(plan.ranking[0]) if plan.ranking else None,
        leaderboard=_leaderboard(experiment, plan),
        failures=tuple(_failed(experiment, state) for state in plan.failed[:_SHOWN]),
        registered=registered if isinstance(registered, RegisteredVersion) else None,
        conditions=_conditions(experiment, verdict, progressing=not done, now=now),
    )


def to_register(experiment: Experiment, plan: Plan) -> Run | None:
    """Return the run whose model is to be registered: the best of an execution in which all went well."""
    register = experiment.spec.register_
    if register is None or not plan.done or plan.failed or not plan.ranking:
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
        return _unknown(Reason.TRIALS_RUNNING, _running_message(plan))
    if plan.failed:
        missing = [state for state in plan.failed if state.failure and state.failure.reason == OBJECTIVE_MISSING]
        reason = Reason.OBJECTIVE_MISSING if len(missing) == len(plan.states) else Reason.TRIALS_FAILED
        return _failed_verdict(reason, _failed_message(plan))
    objective = experiment.spec.objective
    count = _plural(len(plan.states), "trial")
    if not objective:
        return _completed(f"{count} succeeded")
    if not plan.ranking:
        return _failed_verdict(Reason.OBJECTIVE_MISSING, f"no run has a finite {objective.metric}")
    best = plan.ranking[0]
    value = f"{best.metrics[objective.metric]:.6g}"
    return _registration(
        experiment, best, f"{count} succeeded; best is {best.name} with {objective.metric} {value}", registered
    )


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


def _running_message(plan: Plan) -> str:
    counts = _counts(plan)
    parts = [f"{counts.succeeded + counts.failed} of {_plural(counts.total, 'trial')} ended"]
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    if names := [state.trial.name for state in plan.states if state.phase is Phase.RUNNING]:
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        parts.append(f"running: {', '.join(names[:_NAMES_SHOWN])}{more}")
    stuck = [state for state in plan.states if state.job and state.job.waiting]
    parts += [f"{state.trial.name} waits: {state.job.waiting}" for state in stuck[:1] if state.job]
    return "; ".join(parts)


def _failed_message(plan: Plan) -> str:
    named = [_failure_words(state) for state in plan.failed[:_NAMES_SHOWN]]
    more = f"; and {len(plan.failed) - _NAMES_SHOWN} more" if len(plan.failed) > _NAMES_SHOWN else ""
    return f"{len(plan.failed)} of {_plural(len(plan.states), 'trial')} failed: {'; '.join(named)}{more}"


def _failure_words(state: TrialState) -> str:
    failure = state.failure
    assert failure is not None
    return f"{state.trial.name}: {failure.reason}: {failure.message}" if failure.message else state.trial.name


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counts(plan: Plan) -> RunCounts:
    phases = [state.phase for state in plan.states]
    return RunCounts(
        total=len(phases),
        pending=phases.count(Phase.PENDING),
        running=phases.count(Phase.RUNNING),
        succeeded=phases.count(Phase.SUCCEEDED),
        failed=phases.count(Phase.FAILED),
    )


def _best(run: Run) -> BestRun:
    metrics = sorted(run.metrics.items())[:_METRICS_SHOWN]
    parameters = sorted(run.parameters.items())[:_METRICS_SHOWN]
    return BestRun(
        run_id=run.run_id,
        name=short(run.name, _VALUE_LIMIT),
        parameters={name: short(value, _VALUE_LIMIT) for name, value in parameters},
        metrics={name: str(value) for name, value in metrics},
    )


def _leaderboard(experiment: Experiment, plan: Plan) -> tuple[LeaderboardEntry, ...]:
    objective = experiment.spec.objective
    if objective is None:
        return ()
    return tuple(
        LeaderboardEntry(
            run_id=run.run_id, name=short(run.name, _VALUE_LIMIT), value=f"{run.metrics[objective.metric]:.6g}"
        )
        for run in plan.ranking[:_SHOWN]
    )


def _failed(experiment: Experiment, state: TrialState) -> FailedTrial:
    failure, run_id = state.failure, state.run.run_id if state.run else ""
    assert failure is not None
    for known in experiment.status.failures:
        # Pods go before their Job does; what they said is worth more than what the Job says without them.
        if run_id and known.run_id == run_id and failure.reason == "BackoffLimitExceeded":
            return known
    return FailedTrial(name=state.trial.name, run_id=run_id, reason=failure.reason, message=short(failure.message))


def _conditions(experiment: Experiment, verdict: Verdict, *, progressing: bool, now: datetime) -> tuple[Condition, ...]:
    stalled = verdict.status is ConditionStatus.FALSE
    verdicts = kstatus(verdict, progressing=progressing, stalled=stalled)
    return conditions(experiment.status.conditions, verdicts, experiment.metadata.generation, now)
