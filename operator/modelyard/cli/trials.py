"""An Experiment's trials as `runs` shows them: from the runs in MLflow, or from what the status holds of them. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from modelyard.api.experiment import Experiment, Goal, Objective
from modelyard.api.experiment_status import RunCounts
from modelyard.cli.curve import Outcome, Point
from modelyard.decide.experiment_model import (
    EXECUTION_TAG,
    JOB_TAG,
    MADE_BY_TAG,
    MESSAGE_TAG,
    OUTCOME_TAG,
    PARAMETERS_TAG,
    PARENT,
    TRIAL_TAG,
    Run,
    RunStatus,
)
from modelyard.decide.experiment_outcome import STOPPED, Phase, value_of

Json = dict[str, Any]

_PARENT_TAG = "mlflow.parentRunId"
_MOST_PARAMETERS = 16


@dataclass(frozen=True)
class Trial:
    """A trial, or a run that somebody logged. `number` counts from 0 in the order of the trials; None: not known.

    `started` is in seconds since the epoch and `seconds` how long it took, or has taken so far; both None where that
    is not known. `value` is the objective's: the best one of the trial's own and of the runs that its program made.
    """

    number: int | None
    name: str
    run_id: str
    phase: Phase
    value: float | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    started: float | None = None
    seconds: float | None = None
    why: str = ""
    best: bool = False

    def to_json(self) -> Json:
        """Return it for a program; what is not known is left out."""
        fields: Json = {
            "number": self.number,
            "name": self.name,
            "runId": self.run_id or None,
            "state": self.phase.value,
            "value": _json_number(self.value),
            "parameters": dict(self.parameters),
            "metrics": {name: _json_number(value) for name, value in self.metrics.items()},
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "why": self.why or None,
            "best": self.best or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def of_runs(runs: Iterable[Run], objective: Objective | None, now: float) -> list[Trial]:
    """Return the trials in their order. `now` is in seconds since the epoch.

    Runs that a trial's program made count for that trial; a run that nobody's trial is stands for itself.
    """
    ordered = sorted(runs, key=lambda run: (run.start_time, run.run_id))
    nested: dict[str, list[Run]] = {}
    tops: dict[str, list[Run]] = {}
    for run in ordered:
        trial = run.tags.get(TRIAL_TAG)
        if trial == PARENT:
            continue
        made_by = run.tags.get(MADE_BY_TAG) or (run.tags.get(_PARENT_TAG) if trial is None else None)
        if made_by:
            nested.setdefault(made_by, []).append(run)
        else:
            # Of several runs of one trial that of its Job counts, else the first: the others are of no use.
            execution = run.tags.get(EXECUTION_TAG, "")
            tops.setdefault(f"{execution}/{trial}" if trial is not None else run.run_id, []).append(run)
    chosen = [next((run for run in same if run.tags.get(JOB_TAG)), same[0]) for same in tops.values()]
    several = len({run.tags.get(EXECUTION_TAG) for run in chosen}) > 1
    numbered = all(run.tags.get(TRIAL_TAG, "").isdigit() for run in chosen) and not several
    trials = [
        _trial(run, int(run.tags[TRIAL_TAG]) if numbered else place, nested.get(run.run_id, ()), objective, now)
        for place, run in enumerate(chosen)
    ]
    return _with_best(sorted(trials, key=lambda trial: trial.number or 0), objective)


def _trial(run: Run, number: int, nested: Sequence[Run], objective: Objective | None, now: float) -> Trial:
    phase, why = _phase(run)
    value = best_of((run, *nested), objective)
    if phase is Phase.SUCCEEDED and objective and value is None:
        why = f"no {objective.metric} that can be compared"
    end = run.end_time / 1000 if run.end_time else None if run.ended else now
    start = run.start_time / 1000 if run.start_time else None
    return Trial(
        number=number,
        name=run.name,
        run_id=run.run_id,
        phase=phase,
        value=value,
        parameters=swept(run) or run.parameters,
        metrics=run.metrics,
        started=start,
        seconds=max(0.0, end - start) if end is not None and start is not None and phase is not Phase.PENDING else None,
        why=why,
    )


def swept(run: Run) -> dict[str, str]:
    """Return the parameters that were chosen for the run's trial."""
    try:
        found = json.loads(run.tags.get(PARAMETERS_TAG, "{}"))
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _phase(run: Run) -> tuple[Phase, str]:
    outcome, message = run.tags.get(OUTCOME_TAG, ""), run.tags.get(MESSAGE_TAG, "")
    if outcome and outcome != Phase.SUCCEEDED:
        phase = Phase.STOPPED if outcome == STOPPED else Phase.FAILED
        return phase, message if phase is Phase.STOPPED else f"{outcome}: {message}" if message else outcome
    if run.status is RunStatus.FINISHED:
        return Phase.SUCCEEDED, ""
    if run.ended:
        return Phase.FAILED, f"the run ended as {run.status.value}"
    waits = TRIAL_TAG in run.tags and not run.tags.get(JOB_TAG)
    return (Phase.PENDING if waits or run.status is RunStatus.SCHEDULED else Phase.RUNNING), ""


def best_of(runs: Iterable[Run], objective: Objective | None) -> float | None:
    """Return the best of the runs' objectives."""
    if objective is None:
        return None
    values = [value for run in runs if (value := value_of(run, objective)) is not None]
    return (max if objective.goal is Goal.MAXIMIZE else min)(values, default=None)


def _with_best(trials: list[Trial], objective: Objective | None) -> list[Trial]:
    """Mark the best of those that succeeded; of equal ones the first."""
    ranked = ranking(trials, objective)
    return [replace(trial, best=bool(ranked) and trial is ranked[0]) for trial in trials]


def ranking(trials: Iterable[Trial], objective: Objective | None) -> list[Trial]:
    """Return those that succeeded with a value, best first."""
    if objective is None:
        return []
    sign = -1 if objective.goal is Goal.MAXIMIZE else 1
    valued = [
        (sign * trial.value, trial) for trial in trials if trial.value is not None and trial.phase is Phase.SUCCEEDED
    ]
    return [trial for _, trial in sorted(valued, key=lambda pair: pair[0])]


def of_status(experiment: Experiment) -> list[Trial]:
    """Return what the status holds of the trials: the best, and those that failed."""
    status = experiment.status
    best = status.best_run
    entries = [
        Trial(
            None,
            entry.name,
            entry.run_id,
            Phase.SUCCEEDED,
            _float(entry.value),
            best.parameters if best and best.run_id == entry.run_id else {},
            best=place == 0,
        )
        for place, entry in enumerate(status.leaderboard)
    ]
    failed = [
        Trial(None, each.name, each.run_id, Phase.FAILED, why=f"{each.reason}: {each.message}".removesuffix(": "))
        for each in status.failures
    ]
    return entries + failed


def counts(trials: Sequence[Trial]) -> RunCounts:
    """Return how many are in which state."""
    phases = [trial.phase for trial in trials]
    return RunCounts(
        total=len(phases),
        pending=phases.count(Phase.PENDING),
        running=phases.count(Phase.RUNNING),
        succeeded=phases.count(Phase.SUCCEEDED),
        failed=phases.count(Phase.FAILED),
        stopped=phases.count(Phase.STOPPED),
    )


def points(trials: Iterable[Trial]) -> list[Point]:
    """Return what the curve is drawn of."""
    outcomes = {
        Phase.SUCCEEDED: Outcome.SUCCEEDED,
        Phase.STOPPED: Outcome.STOPPED,
        Phase.FAILED: Outcome.FAILED,
        Phase.RUNNING: Outcome.RUNNING,
    }
    return [
        Point(trial.number, trial.value, outcomes[trial.phase])
        for trial in trials
        if trial.number is not None and trial.phase in outcomes
    ]


def in_order(trials: Sequence[Trial], objective: Objective | None) -> list[Trial]:
    """Return the trials as a table has them: the best first, then what runs, was stopped, failed, waits."""
    ranked = ranking(trials, objective)
    if objective is None:
        ranked = [trial for trial in trials if trial.phase is Phase.SUCCEEDED][::-1]
    first = set(map(id, ranked))
    rest = [trial for trial in trials if id(trial) not in first]
    order = (Phase.SUCCEEDED, Phase.RUNNING, Phase.FAILED, Phase.STOPPED, Phase.PENDING)
    return ranked + sorted(rest, key=lambda trial: (order.index(trial.phase), -(trial.number or 0)))


def shown(trials: Sequence[Trial], objective: Objective | None, most: int | None) -> list[Trial]:
    """Return those of which a table of at most so many rows tells: some of every state, the best for the most part."""
    ordered = in_order(trials, objective)
    if most is None or len(ordered) <= most:
        return ordered
    groups = {phase: [trial for trial in ordered if trial.phase is phase] for phase in Phase}
    share = {Phase.RUNNING: most // 4, Phase.FAILED: most // 6, Phase.STOPPED: most // 6, Phase.PENDING: 0}
    taken = {phase: groups[phase][: max(1, few)] if few else [] for phase, few in share.items()}
    best = groups[Phase.SUCCEEDED][: most - sum(map(len, taken.values()))]
    left = most - len(best) - sum(map(len, taken.values()))
    for phase in share:
        more = groups[phase][len(taken[phase]) :][:left]
        taken[phase] = taken[phase] + more
        left -= len(more)
    chosen = {id(trial) for trial in (*best, *(trial for some in taken.values() for trial in some))}
    return [trial for trial in ordered if id(trial) in chosen]


def parameters(experiment: Experiment, trials: Sequence[Trial]) -> list[str]:
    """Return the names of the parameters that the trials differ in: those that are swept, where there is a sweep."""
    if experiment.spec.sweep is not None:
        return list(experiment.spec.sweep.parameters)
    names = dict.fromkeys(name for trial in trials for name in trial.parameters)
    return [name for name in names if len({trial.parameters.get(name) for trial in trials}) > 1][:_MOST_PARAMETERS]


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _json_number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
