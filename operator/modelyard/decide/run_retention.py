"""Which of an Experiment's runs are deleted, which lose their artifacts, and why each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from modelyard.api.experiment import ArtifactRetention, Experiment, ExperimentRetention, Goal, Objective
from modelyard.api.names import GROUP
from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, Run, RunStatus
from modelyard.decide.retention import duration

ARTIFACTS_TAG = f"{GROUP}/artifacts"
"""Run tag: what retention did to the run's artifacts, and when; they are not looked at again."""

PARENT_TAG = "mlflow.parentRunId"

_LARGEST = 1.7e308
"""MLflow's SQL store keeps infinities as the largest double."""


@dataclass(frozen=True)
class Deletion:
    """A run that goes, or whose artifacts go; `why` goes on after "because"."""

    run: Run
    why: str


@dataclass(frozen=True)
class Deletions:
    """What goes now: `runs` with all they have, and the `artifacts` of others; children before their parents."""

    runs: tuple[Deletion, ...] = ()
    artifacts: tuple[Deletion, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether nothing goes."""
        return not self.runs and not self.artifacts


@dataclass(frozen=True)
class Registered:
    """A registered version. `name` says which, in words; `places` are its source and where its files are, as URIs."""

    name: str
    run_id: str | None = None
    places: tuple[str, ...] = ()


def own_runs(experiment: Experiment, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the runs of the MLflow experiment that are this Experiment's.

    Those are the runs that it made, with what their programs made below them. One without a project follows what
    others log, so that every run belongs to it that no other Experiment made.
    """
    mine = f"{experiment.metadata.namespace}/{experiment.metadata.name}"
    whose = (mine,) if experiment.spec.project else (mine, None)
    return tuple(run for run in runs if run.tags.get(EXPERIMENT_TAG) in whose)


def protection(experiment: Experiment, runs: Iterable[Run], versions: Iterable[Registered]) -> dict[str, str]:
    """Return the runs that stay whatever the retention says, by id, each with the reason.

    Those are the runs of registered versions (also of one that was registered from a run's directory without naming
    the run), those of the present execution, and those that the status names.
    """
    runs = tuple(runs)
    ids = {run.run_id for run in runs}
    status = experiment.status
    kept: dict[str, str] = {}
    for run in runs:
        if status.execution and run.tags.get(EXECUTION_TAG) == status.execution:
            kept[run.run_id] = "it belongs to the present execution"
    named = (status.parent_run_id, status.best_run and status.best_run.run_id)
    kept |= {run_id: "the status names it" for run_id in named if run_id}
    for version in versions:
        segments = {segment for place in version.places for segment in urlsplit(place).path.split("/")}
        for run_id in ({version.run_id} | segments) & ids:
            kept[str(run_id)] = f"it is the run of {version.name}"
    if status.registered:
        kept[status.registered.run_id] = (
            f"it is the run of version {status.registered.version} of {status.registered.model}"
        )
    return kept


def to_delete(
    runs: Iterable[Run],
    retention: ExperimentRetention,
    objective: Objective | None,
    protected: Mapping[str, str],
    now: datetime,
) -> Deletions:
    """Work out what `retention` deletes of `runs`, all of one Experiment; those of the ids in `protected` stay.

    Runs that have not ended stay, and so do the best `keepBest`, each with artifacts. A run stays as long as one below
    it does, and keeps its artifacts as long as one below it keeps its own: the lock of the environment is the parent's.
    The others go that have ended too long ago, and those that are not among the newest `maxRuns` of all.
    """
    runs = tuple({run.run_id: run for run in runs}.values())
    kept = set(protected) | {run.run_id for run in runs if not run.ended} | _best(runs, objective, retention.keep_best)
    tree = _Tree(runs)
    going = _chosen(runs, retention, kept, now)
    tree.spare(going, lambda run: run.run_id not in going)
    losing: dict[str, str] = {}
    if retention.artifacts:
        have = [run for run in runs if run.run_id not in going and ARTIFACTS_TAG not in run.tags]
        losing = _chosen(runs, retention.artifacts, kept, now)
        losing = {run.run_id: losing[run.run_id] for run in have if run.run_id in losing}
        held = {run.run_id for run in have if run.run_id not in losing}
        tree.spare(losing, lambda run: run.run_id in held)
    return Deletions(tree.upwards(going), tree.upwards(losing))


def _chosen(
    runs: Sequence[Run], limits: ExperimentRetention | ArtifactRetention, kept: Collection[str], now: datetime
) -> dict[str, str]:
    """Return the runs beyond the limits, each with the reason."""
    newest = sorted(runs, key=lambda run: (run.start_time, run.run_id), reverse=True)
    chosen: dict[str, str] = {}
    for place, run in enumerate(newest):
        if run.run_id in kept:
            continue
        age = now - datetime.fromtimestamp((run.end_time or run.start_time) / 1000, UTC)
        if limits.max_runs is not None and place >= limits.max_runs:
            chosen[run.run_id] = f"it is not among the newest {limits.max_runs}"
        elif limits.max_age is not None and age > duration(limits.max_age):
            chosen[run.run_id] = f"it ended more than {limits.max_age} ago"
    return chosen


def _best(runs: Iterable[Run], objective: Objective | None, count: int) -> set[str]:
    """Return the best runs that ended well; of equal ones the earlier is better."""
    if objective is None:
        return set()
    sign = -1 if objective.goal is Goal.MAXIMIZE else 1
    values = [
        (sign * run.metrics.get(objective.metric, math.nan), run.start_time, run.run_id) for run in runs if _good(run)
    ]
    ranked = sorted(item for item in values if abs(item[0]) < _LARGEST)
    return {run_id for _, _, run_id in ranked[:count]}


def _good(run: Run) -> bool:
    return run.status is RunStatus.FINISHED


class _Tree:
    """Runs with what is above them."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = {run.run_id: run for run in runs}

    def above(self, run: Run) -> list[str]:
        """Return the ids of the run's parent, the parent's parent and so on."""
        found: list[str] = []
        parent = run.tags.get(PARENT_TAG, "")
        # Tags are anybody's: they may go round in a circle.
        while parent in self._runs and parent != run.run_id and parent not in found:
            found.append(parent)
            parent = self._runs[parent].tags.get(PARENT_TAG, "")
        return found

    def spare(self, chosen: dict[str, str], holds: Callable[[Run], bool]) -> None:
        """Take those out of `chosen` that are above a run that `holds` them."""
        holding = [run for run in self._runs.values() if holds(run)]
        for run in holding:
            for run_id in self.above(run):
                chosen.pop(run_id, None)

    def upwards(self, chosen: Mapping[str, str]) -> tuple[Deletion, ...]:
        """Return what was chosen, children first, the older before the newer."""
        found = [self._runs[run_id] for run_id in chosen]
        ordered = sorted(found, key=lambda run: (-len(self.above(run)), run.start_time, run.run_id))
        return tuple(Deletion(run, chosen[run.run_id]) for run in ordered)
