"""Which of an Experiment's runs are deleted, which lose their artifacts, and why each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from modelyard.api.experiment import ArtifactRetention, Experiment, ExperimentRetention, Goal, Objective
from modelyard.api.experiment_status import CleanUpStatus
from modelyard.api.names import GROUP
from modelyard.decide.conditions import timestamp
from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, Run, RunStatus
from modelyard.decide.jobs import short
from modelyard.decide.retention import duration

ARTIFACTS_TAG = f"{GROUP}/artifacts"
"""Run tag: what retention did to the run's artifacts, and when; they are not looked at again."""

PARENT_TAG = "mlflow.parentRunId"

NOTHING = "Nothing was deleted."
_MESSAGE_LIMIT = 1024
_NAMED = 5
"""How many of the runs that are deleted for one reason are named."""

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

    @property
    def segments(self) -> frozenset[str]:
        """All parts of the paths of its places: ids of runs and of logged models are among them."""
        return frozenset(segment for place in self.places for segment in urlsplit(place).path.split("/"))


def own_runs(experiment: Experiment, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the runs of the MLflow experiment that are this Experiment's.

    Those are the runs that it made, with what their programs made below them. One without a project follows what
    others log, so that every run belongs to it that no other Experiment made.
    """
    mine = f"{experiment.metadata.namespace}/{experiment.metadata.name}"
    whose = (mine,) if experiment.spec.project else (mine, None)
    return tuple(run for run in runs if run.tags.get(EXPERIMENT_TAG) in whose)


def protection(
    experiment: Experiment,
    runs: Iterable[Run],
    versions: Iterable[Registered],
    others: Iterable[Experiment] = (),
) -> dict[str, str]:
    """Return the runs that stay whatever the retention says, by id, each with the reason.

    Those are the runs of registered versions (also of one that was registered from a run's directory without naming
    the run), those of the present execution, those that the status names, and those that one of `others` runs again.
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
    for other in others:
        if other.spec.project and (again := other.spec.project.run):
            kept[again.id] = f"experiment {other.metadata.namespace}/{other.metadata.name} runs it again"
    for version in versions:
        for run_id in (version.segments | {version.run_id or ""}) & ids:
            kept[run_id] = f"it is the run of {version.name}"
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


@dataclass
class Account:
    """What one clean-up has done so far. `left` is how many more are to go; `notes` are sentences about what stays."""

    runs: list[Deletion] = field(default_factory=list)
    artifacts: list[Deletion] = field(default_factory=list)
    left: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether nothing was deleted."""
        return not self.runs and not self.artifacts

    def status(self, before: CleanUpStatus | None, now: datetime) -> CleanUpStatus:
        """Return the status after it."""
        before = before or CleanUpStatus()
        return CleanUpStatus(
            last_at=before.last_at if self.nothing else timestamp(now),
            runs=before.runs + len(self.runs),
            artifacts=before.artifacts + len(self.artifacts),
            message=short(" ".join(self._sentences()), _MESSAGE_LIMIT),
        )

    def _sentences(self) -> Iterator[str]:
        if self.nothing:
            yield NOTHING
        if self.runs:
            yield f"Deleted {_counted(self.runs)}."
        if self.artifacts:
            yield f"Deleted the artifacts of {_counted(self.artifacts)}."
        if self.left:
            yield f"{self.left} more will go."
        yield from self.notes


def _counted(deletions: Sequence[Deletion]) -> str:
    """Return how many runs, and for each reason how many and the first of them, in words."""
    reasons: dict[str, list[str]] = {}
    for deletion in deletions:
        reasons.setdefault(deletion.why, []).append(deletion.run.name or deletion.run.run_id)
    parts = (
        f"{len(found)} because {why}: {', '.join(found[:_NAMED])}{', …' if len(found) > _NAMED else ''}"
        for why, found in reasons.items()
    )
    return f"{len(deletions)} run{'s' if len(deletions) > 1 else ''} ({'; '.join(parts)})"
