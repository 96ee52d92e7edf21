"""The status of an Experiment that runs nothing itself: it follows the runs that others log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from modelyard.api.common import ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExperimentStatus, RegisteredVersion, RunCounts
from modelyard.api.reasons import ConditionType, Reason
from modelyard.decide.conditions import Verdict, conditions, kstatus
from modelyard.decide.experiment import broken_bounds
from modelyard.decide.experiment_model import Problem, Run, RunStatus
from modelyard.decide.experiment_outcome import ranked
from modelyard.decide.experiment_status import best_run, leaderboard


def best_of(experiment: Experiment, runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return the runs that ended well and have the objective, best first."""
    return ranked((run for run in runs if run.status is RunStatus.FINISHED), experiment.spec.objective)


def good_enough(experiment: Experiment, ranking: Sequence[Run]) -> Run | None:
    """Return the run whose model is to be registered: the best one, if it keeps the bounds."""
    register = experiment.spec.register_
    if register is None or not ranking or broken_bounds(register.when, ranking[0]):
        return None
    return ranking[0]


def followed(
    experiment: Experiment,
    experiment_id: str,
    runs: Sequence[Run],
    registered: RegisteredVersion | Problem | None,
    now: datetime,
) -> ExperimentStatus:
    """Return the status of an Experiment with these runs."""
    ranking = best_of(experiment, runs)
    status = experiment.status.model_copy(
        update={
            "observed_generation": experiment.metadata.generation,
            "experiment_id": experiment_id,
            "runs": _counts(runs),
            "best_run": best_run(ranking[0]) if ranking else None,
            "leaderboard": leaderboard(experiment, ranking),
            "registered": registered if isinstance(registered, RegisteredVersion) else experiment.status.registered,
        }
    )
    problem = registered if isinstance(registered, Problem) else None
    return _told(experiment, status, _verdict(experiment, ranking, problem), now)


def troubled(experiment: Experiment, problem: Problem, now: datetime) -> ExperimentStatus:
    """Return the status where the runs cannot be read; what was known of them stays to be seen."""
    known = experiment.status.model_copy(update={"observed_generation": experiment.metadata.generation})
    return _told(experiment, known, _problem(problem), now)


def _verdict(experiment: Experiment, ranking: Sequence[Run], problem: Problem | None) -> Verdict:
    if problem is not None:
        return _problem(problem)
    message = "it follows the runs that others log"
    if ranking and experiment.spec.objective:
        metric = experiment.spec.objective.metric
        message += f"; best is {ranking[0].name} with {metric} {ranking[0].metrics[metric]:.6g}"
        register = experiment.spec.register_
        if register and (broken := broken_bounds(register.when, ranking[0])):
            message += f"; not registered: {', '.join(broken)}"
    return Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.FOLLOWING, message)


def _problem(problem: Problem) -> Verdict:
    status = ConditionStatus.UNKNOWN if problem.transient else ConditionStatus.FALSE
    return Verdict(ConditionType.READY, status, problem.reason, problem.message)


def _told(experiment: Experiment, status: ExperimentStatus, verdict: Verdict, now: datetime) -> ExperimentStatus:
    stalled = verdict.status is ConditionStatus.FALSE
    progressing = verdict.status is ConditionStatus.UNKNOWN
    verdicts = kstatus(verdict, progressing=progressing, stalled=stalled)
    said = conditions(experiment.status.conditions, verdicts, experiment.metadata.generation, now)
    return status.model_copy(update={"conditions": said})


def _counts(runs: Sequence[Run]) -> RunCounts:
    states = [run.status for run in runs]
    return RunCounts(
        total=len(states),
        pending=states.count(RunStatus.SCHEDULED),
        running=states.count(RunStatus.RUNNING),
        succeeded=states.count(RunStatus.FINISHED),
        failed=states.count(RunStatus.FAILED),
        stopped=states.count(RunStatus.KILLED),
    )
