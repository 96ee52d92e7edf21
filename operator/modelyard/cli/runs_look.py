"""One look at an Experiment's trials: its object, and its runs in MLflow, as far as that can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelyard.api.experiment import Experiment, Objective
from modelyard.api.experiment_status import RunCounts
from modelyard.cli.errors import CliError
from modelyard.cli.experiments import Experiments, state, succeeded
from modelyard.cli.tracking import NoTracking, Tracking
from modelyard.cli.trials import Trial, counts, of_runs, of_status, ranking
from modelyard.cluster.client import ApiError
from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, Run
from modelyard.decide.experiment_outcome import Phase
from modelyard.decide.run_retention import own_runs
from modelyard.tracking.client import TrackingError

Json = dict[str, Any]

_ENOUGH = 3
"""So many trials have to have ended before anything is said of when the others will."""


@dataclass(frozen=True)
class RunsLook:
    """What was seen at a moment. `execution` is the one that is shown; None where it is all of them.

    `notes` say what could not be seen, and why.
    """

    experiment: Experiment
    at: datetime
    execution: str | None
    objective: Objective | None
    trials: tuple[Trial, ...]
    counts: RunCounts
    notes: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Return it for a program."""
        experiment, status = self.experiment, self.experiment.status
        condition = succeeded(experiment)
        ranked = ranking(self.trials, self.objective)
        answer: Json = {
            "name": experiment.metadata.name,
            "namespace": experiment.metadata.namespace,
            "state": state(experiment),
            "succeeded": condition.to_dict() if condition else None,
            "execution": self.execution,
            "trigger": status.trigger.to_dict() if status.trigger else None,
            "commit": status.commit,
            "environment": status.environment.to_dict() if status.environment else None,
            "startedAt": status.started_at,
            "finishedAt": status.finished_at,
            "runs": self.counts.to_dict(),
            "objective": self.objective.to_dict() if self.objective else None,
            "best": ranked[0].to_json() if ranked else None,
            "registered": status.registered.to_dict() if status.registered else None,
            "trials": [trial.to_json() for trial in self.trials],
            "notes": list(self.notes),
        }
        return {name: value for name, value in answer.items() if value is not None}


class RunsLooker:
    """Looks at one Experiment again and again."""

    def __init__(self, experiments: Experiments, given: str, execution: str | None = None) -> None:
        """`execution` names another one than the present."""
        self._experiments = experiments
        self._given = given
        self._wanted = execution
        self._tracking: Tracking | None = None

    def __call__(self) -> RunsLook:
        """Look. Raises `CliError` where there is no such Experiment or execution, `ApiError`."""
        experiment = self._experiments.get(self._given)
        now = self._experiments.clock()
        objective, status = experiment.spec.objective, experiment.status
        execution = self._wanted or (status.execution if experiment.spec.sweep else None)
        notes: list[str] = []
        if (status.observed_generation or 0) < experiment.metadata.generation:
            notes.append("the operator has not seen the newest spec yet")
        try:
            runs = self._runs(experiment, execution)
        except (ApiError, NoTracking, TrackingError) as error:
            notes.append(f"only what the status holds is shown: {error}")
            self._tracking = None
            trials = of_status(experiment) if execution in (None, status.execution) else []
        else:
            trials = of_runs(runs, objective, now.timestamp())
            self._check(experiment, runs)
        return RunsLook(
            experiment, now, execution, objective, tuple(trials), _counts(experiment, execution, trials), tuple(notes)
        )

    def _runs(self, experiment: Experiment, execution: str | None) -> tuple[Run, ...]:
        """Return the runs: those of a sweep's present execution, or of all executions where each has but one."""
        experiment_id = experiment.status.experiment_id
        if experiment_id is None:
            return ()
        if self._tracking is None:
            self._tracking = self._experiments.reach()
        client = self._tracking.client
        if experiment.spec.project is None and execution is None:
            return own_runs(experiment, client.search_runs(experiment_id, {}))
        tags = {EXPERIMENT_TAG: full_name(experiment), **({EXECUTION_TAG: execution} if execution else {})}
        return tuple(client.search_runs(experiment_id, tags))

    def _check(self, experiment: Experiment, runs: tuple[Run, ...]) -> None:
        known = {each.id for each in experiment.status.executions} | {experiment.status.execution}
        if self._wanted is not None and not runs and self._wanted not in known:
            named = ", ".join(sorted(each for each in known if each)) or "none yet"
            raise CliError(f"{experiment.metadata.name} has no execution {self._wanted}: there are {named}")


def full_name(experiment: Experiment) -> str:
    """Return what the runs' tags call the Experiment."""
    return f"{experiment.metadata.namespace}/{experiment.metadata.name}"


def _counts(experiment: Experiment, execution: str | None, trials: list[Trial]) -> RunCounts:
    """Return the operator's counts, which know of the trials to come, too; of several executions those of the runs."""
    status = experiment.status
    if execution is None:
        return counts(trials)
    if execution == status.execution and status.runs:
        return status.runs
    return next((each.runs for each in status.executions if each.id == execution), counts(trials))


def elapsed(experiment: Experiment, now: datetime) -> float | None:
    """Return how long the present execution took, or has taken so far, in seconds."""
    status = experiment.status
    if status.started_at is None:
        return None
    end = datetime.fromisoformat(status.finished_at) if status.finished_at else now
    return max(0.0, (end - datetime.fromisoformat(status.started_at)).total_seconds())


def remaining(look: RunsLook) -> float | None:
    """Return about how long the trials that are left will take, in seconds, by those that have ended."""
    counted = look.counts
    if state(look.experiment) != "Running" or look.execution != look.experiment.status.execution:
        return None
    took = [trial.seconds for trial in look.trials if trial.phase is Phase.SUCCEEDED and trial.seconds is not None]
    coming = counted.total - counted.succeeded - counted.failed - counted.stopped - counted.running
    if len(took) < _ENOUGH or not counted.running:
        return None
    sweep = look.experiment.spec.sweep
    lanes = max(1, min(sweep.parallelism if sweep else 1, counted.running))
    return sum(took) / len(took) * (coming / lanes + 0.5)
