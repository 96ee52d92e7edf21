"""Deletes the runs and artifacts of Experiments that `spec.retention` does not keep, some at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import CleanUpStatus
from modelyard.api.model_status import RecordsStatus
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import ArtifactStoreUnreachable
from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.resources import of_kind
from modelyard.decide.conditions import timestamp
from modelyard.decide.experiment_model import EXPERIMENT_TAG, Run
from modelyard.decide.run_retention import (
    ARTIFACTS_TAG,
    NOTHING,
    Account,
    Deletion,
    Deletions,
    Registered,
    own_runs,
    protection,
    to_delete,
)
from modelyard.records.state import ModelState
from modelyard.registry.ledger import Ledger
from modelyard.registry.objects import REGISTERED_MODELS, RegistryError
from modelyard.tracking.artifacts import ArtifactsNotServed
from modelyard.tracking.client import LoggedModel, TrackingError, TrackingUnreachable

log = logging.getLogger(__name__)

AT_ONCE = 25
"""How many runs are dealt with in one step, so that nothing else waits for long."""

LOOK_EVERY = timedelta(minutes=10)
"""How often it is found out what has grown too old, or was logged by others. Every execution that ends asks, too."""

_LOGS = "registry/"
"""Below this key of the artifact store each model has its records."""


class Tracking(Protocol):
    """What is needed of the tracking server; see `tracking.client.TrackingClient`."""

    def search_runs(self, experiment_id: str, tags: Mapping[str, str]) -> list[Run]:
        """Return runs by their tags."""

    def registered_versions(self, run_ids: Collection[str]) -> dict[str, str]:
        """Return which of these runs the server's model registry has versions of."""

    def logged_models(self, run_id: str) -> list[LoggedModel]:
        """Return the models that a run logged."""

    def delete_artifacts(self, run: Run, models: Iterable[LoggedModel] = ()) -> None:
        """Delete all artifacts of a run and of these models."""

    def delete_run(self, run_id: str) -> None:
        """Delete a run."""

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""


class Records(Protocol):
    """What is needed of the registry; see `registry.registry.Registry`."""

    def state_of(self, model: RegisteredModel) -> ModelState:
        """Return all that is known of a model."""

    def ledger(self, namespace: str, name: str) -> Ledger:
        """Return the log of the model in the object `name`."""


class Keys(Protocol):
    """What is needed of the artifact store; see `artifacts.store.ArtifactStore`."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix."""


@dataclass
class _Seen:
    """What one step is decided on. `models` are those that runs logged, by run, as far as they were asked for."""

    experiment: Experiment
    runs: tuple[Run, ...]
    protected: dict[str, str]
    registered: frozenset[str]
    now: datetime
    models: dict[str, list[LoggedModel]] = field(default_factory=dict)

    def deletions(self) -> Deletions:
        spec = self.experiment.spec
        assert spec.retention is not None
        return to_delete(self.runs, spec.retention, spec.objective, self.protected, self.now)


Step = Callable[[Deletion, _Seen, Account], None]


class RunRetention:
    """Carries `spec.retention` of Experiments out. Nothing that it does has to be remembered: a crash costs nothing."""

    def __init__(self, tracking: Tracking, client: Client, records: Records, store: Keys) -> None:
        self._tracking = tracking
        self._client = client
        self._records = records
        self._store = store
        self._looked: dict[str, tuple[object, datetime]] = {}
        """By the Experiment's uid: for what of it nothing was left to delete, and when."""

        self._refused: dict[str, str] = {}
        """Runs that the tracking server refused to delete, by id, with its words."""

        self._logs: tuple[frozenset[tuple[str, str]], datetime | None] = frozenset(), None

    def apply(self, experiment: Experiment, now: datetime) -> CleanUpStatus | None:
        """Delete some of what is to go, and return what the status is to say; None where that is what it says.

        Raises nothing: what cannot be asked or deleted is told in the status, and tried again later. Looks only every
        ten minutes, unless the last step left something or the spec or the execution has changed.
        """
        key = experiment.metadata.uid
        status = experiment.status
        if experiment.spec.retention is None or not status.experiment_id:
            return None
        what = (experiment.metadata.generation, status.execution, status.finished_at)
        before, at = self._looked.get(key, (None, now))
        if before == what and now - at < LOOK_EVERY:
            return None
        account = Account()
        try:
            self._clean_up(experiment, now, account)
        except (TrackingError, ApiError, ArtifactStoreUnreachable, RegistryError) as error:
            log.warning("experiment %s: clean-up: %s", key, error)
            account.notes.append(f"Tried again later: {error}")
            self._looked[key] = what, now
        if not account.left:
            self._looked[key] = what, now
        else:
            self._looked.pop(key, None)
        if (
            account.nothing
            and not account.notes
            and not (status.clean_up and status.clean_up.message.startswith(NOTHING))
        ):
            return None
        told = account.status(status.clean_up, now)
        return None if told == status.clean_up else told

    def again_after(self, experiment: Experiment, now: datetime) -> float | None:
        """Return in how many seconds to call `apply` again although nothing has changed; None for never."""
        if experiment.spec.retention is None or not experiment.status.experiment_id:
            return None
        looked = self._looked.get(experiment.metadata.uid)
        return max((looked[1] + LOOK_EVERY - now).total_seconds(), 1.0) if looked else 1.0

    def planned(self, experiment: Experiment, now: datetime) -> Deletions:
        """Return all that would go now; what only the tracking server's own registry knows is not asked for.

        Raises `TrackingError`, `ApiError`, `ArtifactStoreUnreachable`, `RegistryError`.
        """
        seen = self._see(experiment, now)
        return seen.deletions() if seen else Deletions()

    def _see(self, experiment: Experiment, now: datetime) -> _Seen | None:
        """Gather what is decided on; None where nothing would go even if nothing were registered."""
        metadata, status = experiment.metadata, experiment.status
        assert status.experiment_id is not None
        mine = {EXPERIMENT_TAG: f"{metadata.namespace}/{metadata.name}"} if experiment.spec.project else {}
        runs = own_runs(experiment, self._tracking.search_runs(status.experiment_id, mine))
        seen = _Seen(experiment, runs, {**self._refused, **protection(experiment, runs, ())}, frozenset(), now)
        if seen.deletions().nothing:
            # No need to ask around.
            return None
        versions = list(self._versions(now))
        others = map(Experiment.parse, self._client.list_all(of_kind(Experiment)))
        seen.protected |= protection(experiment, runs, versions, others)
        seen.registered = frozenset().union(*(version.segments for version in versions))
        return seen

    def _versions(self, now: datetime) -> Iterator[Registered]:
        """Give every registered version: of all namespaces, and of models whose objects are not there (yet)."""
        models = {
            (model.metadata.namespace, model.metadata.name): model
            for model in map(RegisteredModel.parse, self._client.list_all(REGISTERED_MODELS))
        }
        for namespace, name in sorted(self._logs_there(now) | models.keys()):
            model = models.get((namespace, name))
            if model:
                state = self._records.state_of(model)
                gone = state.has_ended(model.metadata.uid)
            else:
                # Where the objects are lost, records say what is registered: they come back with Git.
                state = self._records.ledger(namespace, name).state(RecordsStatus())
                gone = state.ended is not None
            for version in () if gone else state.shown:
                places = (version.source, version.artifact, f"/{version.model_id or ''}")
                called = f"version {version.version} of {model.model_name if model else name} in {namespace}"
                yield Registered(called, version.run_id, places)

    def _logs_there(self, now: datetime) -> frozenset[tuple[str, str]]:
        """Return the namespaces and names that there are records of. Those made since the last look have objects."""
        names, at = self._logs
        if at is None or now - at >= LOOK_EVERY:
            parts = (key.split("/") for key in self._store.keys(_LOGS))
            names = frozenset((part[1], part[2]) for part in parts if len(part) > 2)
            self._logs = names, now
        return names

    def _clean_up(self, experiment: Experiment, now: datetime, account: Account) -> None:
        seen = self._see(experiment, now)
        if seen is None:
            return
        runs, artifacts, more = self._next(seen)
        steps = [(self._delete, deletion) for deletion in runs] + [(self._empty, deletion) for deletion in artifacts]
        for act, deletion in steps:
            if not self._try(act, deletion, seen, account):
                # What is above it has to stay now: to be decided anew.
                more = max(more, 1)
                break
        account.left = more

    def _next(self, seen: _Seen) -> tuple[list[Deletion], list[Deletion], int]:
        """Return the runs to delete now, those to lose their artifacts now, and how many more are to go."""
        while True:
            found = seen.deletions()
            runs = list(found.runs[:AT_ONCE])
            artifacts = list(found.artifacts[: AT_ONCE - len(runs)])
            also = self._also_registered(seen, [deletion.run.run_id for deletion in (*runs, *artifacts)])
            if not also:
                return runs, artifacts, len(found.runs) + len(found.artifacts) - len(runs) - len(artifacts)
            # What is above them may have to stay as well.
            seen.protected |= also

    def _also_registered(self, seen: _Seen, run_ids: list[str]) -> dict[str, str]:
        """Return those runs that the server's registry has versions of, or whose logged model a version is."""
        new = [run_id for run_id in run_ids if run_id not in seen.models]
        found = self._tracking.registered_versions(new)
        for run_id in new:
            seen.models[run_id] = self._tracking.logged_models(run_id)
            if any(model.model_id in seen.registered for model in seen.models[run_id]):
                found[run_id] = "a version"
        return {run_id: f"it is the run of {version}" for run_id, version in found.items()}

    def _try(self, act: Step, deletion: Deletion, seen: _Seen, account: Account) -> bool:
        """Take a step; return whether the tracking server let it happen. Raises `TrackingUnreachable`."""
        run = deletion.run
        try:
            act(deletion, seen, account)
        except TrackingUnreachable:
            raise
        except TrackingError as error:
            # Not asked for again by this process: what cannot go must not stand in the way of what can.
            self._refused[run.run_id] = str(error)
            account.notes.append(f"Run {run.name or run.run_id} stays: {error}.")
            return False
        return True

    def _delete(self, deletion: Deletion, seen: _Seen, account: Account) -> None:
        """Delete a run with its artifacts; those first, for a run that is gone is not found again."""
        run = deletion.run
        try:
            self._tracking.delete_artifacts(run, seen.models[run.run_id])
        except ArtifactsNotServed as error:
            account.notes.append(f"Not deleted: {error}.")
        self._tracking.delete_run(run.run_id)
        account.runs.append(deletion)
        log.info("run %s (%s) deleted: %s", run.run_id, run.name, deletion.why)

    def _empty(self, deletion: Deletion, seen: _Seen, account: Account) -> None:
        """Delete a run's artifacts and then say so on the run; between the two a crash only has it done again."""
        run = deletion.run
        try:
            self._tracking.delete_artifacts(run, seen.models[run.run_id])
        except ArtifactsNotServed as error:
            self._tracking.set_tags(run.run_id, {ARTIFACTS_TAG: f"kept: {error}"})
            account.notes.append(f"Not deleted: {error}.")
            return
        why = f"deleted {timestamp(seen.now)}, because {deletion.why}"
        self._tracking.set_tags(run.run_id, {ARTIFACTS_TAG: why})
        account.artifacts.append(deletion)
        log.info("artifacts of run %s (%s) deleted: %s", run.run_id, run.name, deletion.why)
