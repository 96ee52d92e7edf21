"""Writes versions and transitions: the record in the artifact store is the commit point, `status` follows.

The tracking server and the operator both use this module, at the same time. Each writes the next record of a model's
log by a conditional write, `status` is replaced under optimistic concurrency, whoever comes next takes in what a crash
left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import yaml

from modelyard.api.model_status import PreparationStatus
from modelyard.api.names import FIELD_MANAGER
from modelyard.api.registeredmodel import ASSIGNABLE, RegisteredModel, Stage
from modelyard.artifacts.manifest import Manifest
from modelyard.artifacts.store import ArtifactStore, ArtifactStoreUnreachable
from modelyard.cluster.client import ApiError, Client
from modelyard.decide.registeredmodel import precise_timestamp
from modelyard.records.events import (
    Event,
    FileRecord,
    MoveRecord,
    StagesChanged,
    VersionDeleted,
    VersionEdited,
    VersionPrepared,
    VersionRegistered,
)
from modelyard.records.state import ModelState, VersionState
from modelyard.records.view import view
from modelyard.registry.ledger import Ledger, Ledgers
from modelyard.registry.objects import (
    ModelNotFound,
    ModelObjects,
    NotInStatus,
    NumberTaken,
    Outdated,
    RegistryError,
    VersionNotFound,
)

Clock = Callable[[], datetime]

_MLMODEL = "MLmodel"
_MLMODEL_LIMIT = 1 << 20
_FLAVORS_LIMIT = 32


@dataclass(frozen=True)
class Candidate:
    """What is to become a version: `source` as it was given, `artifact` the s3:// directory that it stands for.

    An empty `artifact` is a version without files (MLflow's prompts: their text is a tag).
    """

    source: str
    artifact: str
    created_by: str
    run_id: str | None = None
    run_link: str | None = None
    model_id: str | None = None
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionMetadata:
    """What can be edited of a version."""

    description: str | None
    tags: dict[str, str]


class Registry(ModelObjects):
    """The models of a cluster with their versions. Safe to use from several threads and processes at the same time.

    Every method that reads or writes records may raise `ArtifactStoreUnreachable` and `RecordsAltered`, every one that
    reads or writes objects `ApiError`.
    """

    def __init__(self, client: Client, store: ArtifactStore, clock: Clock) -> None:
        super().__init__(client)
        self._store = store
        self._clock = clock
        self._ledgers = Ledgers(store)

    def ledger(self, namespace: str, name: str) -> Ledger:
        """Return the log of the model in the object `name`."""
        return self._ledgers.of(namespace, name)

    def state_of(self, model: RegisteredModel) -> ModelState:
        """Return all that is known of a model, at least as new as the object."""
        return self.ledger(model.metadata.namespace, model.metadata.name).state(model.status.records)

    def read(self, namespace: str, model_name: str) -> tuple[RegisteredModel, ModelState]:
        """Return the object and the state of a model. Raises `ModelNotFound`."""
        found = self.look_up(namespace, model_name)
        if found is None:
            raise ModelNotFound(f"there is no registered model {model_name!r} in namespace {namespace}")
        return found

    def look_up(self, namespace: str, model_name: str) -> tuple[RegisteredModel, ModelState] | None:
        """The same, but return None where there is no such model."""
        model = self.find_model(namespace, model_name)
        if model is None:
            return None
        state = self.state_of(model)
        return None if state.has_ended(model.metadata.uid) else (model, state)

    def register_version(self, namespace: str, model_name: str, candidate: Candidate) -> VersionState:
        """Register a new version of an existing model.

        The files are read first, so a source that is missing takes no number.
        Raises `ArtifactMissing`, `ModelNotFound`, `Contended`, `NotInStatus`.
        """
        return self._register(namespace, model_name, candidate)

    def register_once(self, namespace: str, model_name: str, candidate: Candidate, key: str) -> VersionState:
        """The same, but return the version that was registered under `key` (a run id, for one) where there is one."""
        return self._register(namespace, model_name, candidate, key)

    def register_numbered(self, model: RegisteredModel, candidate: Candidate, number: int) -> ModelState:
        """Record a version under a number of the caller's, who is to show it; return what holds after it.

        Raises `ArtifactMissing`, and `NumberTaken` where the number is not free any more.
        """
        self._record_version(model, candidate, number=number)
        return self.state_of(model)

    def _register(self, namespace: str, model_name: str, candidate: Candidate, key: str | None = None) -> VersionState:
        model, state = self.read(namespace, model_name)
        if (earlier := state.registered_under(key)) is not None:
            if model.status.records.sequence < state.sequence:
                self.show(namespace, model_name)
            return earlier
        version = self._record_version(model, candidate, key=key)
        try:
            self.show(namespace, model_name)
        except (ApiError, ArtifactStoreUnreachable, RegistryError) as error:
            raise NotInStatus(
                f"version {version.version} of {model_name!r} is registered, but its object does not show it yet: "
                f"{error}"
            ) from error
        return version

    def _record_version(
        self, model: RegisteredModel, candidate: Candidate, *, key: str | None = None, number: int | None = None
    ) -> VersionState:
        manifest = self._store.manifest(candidate.artifact) if candidate.artifact else Manifest(())
        model_name = model.model_name
        unnumbered = self._registration(model_name, candidate, manifest, key)
        taken: list[int] = []

        def next_version(state: ModelState) -> Event | None:
            if (earlier := state.registered_under(key)) is not None:
                taken.append(earlier.version)
                return None
            wanted = number or state.latest_version + 1
            if wanted <= state.latest_version:
                raise NumberTaken(f"{model_name!r} has registered version {state.latest_version} already")
            taken.append(wanted)
            return unnumbered.model_copy(update={"version": wanted, "at": precise_timestamp(self._clock())})

        ledger = self.ledger(model.metadata.namespace, model.metadata.name)
        try:
            state = ledger.append(next_version)
        except ArtifactStoreUnreachable as error:
            raise NotInStatus(
                f"whether a version of {model_name!r} was registered is not known; look before registering it again: "
                f"{error}"
            ) from error
        # An answer that was lost on the way leaves an attempt more than were written.
        return state.versions[max(attempt for attempt in taken if attempt in state.versions)]

    def _registration(
        self, model_name: str, candidate: Candidate, manifest: Manifest, key: str | None
    ) -> VersionRegistered:
        return VersionRegistered(
            by=candidate.created_by,
            model=model_name,
            version=0,
            source=candidate.source,
            artifact=candidate.artifact,
            digest=manifest.digest,
            files=tuple(
                FileRecord(path=file.path, sha256=file.sha256, size=file.size, etag=file.etag)
                for file in manifest.files
            ),
            flavors=self._flavors(candidate.artifact, manifest),
            run_id=candidate.run_id,
            run_link=candidate.run_link,
            model_id=candidate.model_id,
            description=candidate.description,
            tags=candidate.tags,
            metrics=candidate.metrics,
            idempotency_key=key,
        )

    def _flavors(self, artifact: str, manifest: Manifest) -> tuple[str, ...]:
        """Return the flavors that the directory's MLmodel names; none where it has no such file."""
        size = next((file.size for file in manifest.files if file.path == _MLMODEL), 0)
        if not 0 < size <= _MLMODEL_LIMIT:
            return ()
        with self._store.open(f"{artifact.rstrip('/')}/{_MLMODEL}") as body:
            text = body.read()
        try:
            flavors = yaml.safe_load(text)["flavors"]
            return tuple(sorted(str(flavor) for flavor in flavors))[:_FLAVORS_LIMIT]
        except (yaml.YAMLError, KeyError, TypeError):
            return ()

    def record(self, model: RegisteredModel, decided_on: ModelState, event: Event) -> ModelState:
        """Write what was decided on a state, and return what holds after it.

        Raises `Outdated` where others have written meanwhile.
        """
        # A change of stages brings the time that its stages' `since` says, so that both tell one story.
        timed = event if event.at else event.model_copy(update={"at": precise_timestamp(self._clock())})

        def draft(state: ModelState) -> Event:
            if state.sequence != decided_on.sequence:
                raise Outdated(f"others have written the records of {model.model_name!r}")
            return timed

        return self.ledger(model.metadata.namespace, model.metadata.name).append(draft)

    def label_version(self, namespace: str, model_name: str, version: int, stage: Stage, by: str) -> None:
        """Move a version that is in no stage to Archived or None.

        Raises `VersionNotFound`, and `RegistryError` where the version is in Staging or Production: `spec.stages`
        decides about those.
        """
        assert stage not in ASSIGNABLE.values()

        def moved(state: ModelState) -> Event | None:
            found = version_of(state, model_name, version)
            if any(held.version == version for held in state.stages.values()):
                raise RegistryError(f"version {version} of {model_name} is in {found.stage}: spec.stages decides")
            if found.stage == stage:
                return None
            move = MoveRecord(version=version, from_=found.stage, to=stage, by=by)
            return StagesChanged(by=by, at=precise_timestamp(self._clock()), stages=state.stages, moves=(move,))

        self._append(namespace, model_name, moved)

    def edit_version(
        self,
        namespace: str,
        model_name: str,
        version: int,
        by: str,
        edit: Callable[[VersionMetadata], VersionMetadata],
    ) -> VersionState:
        """Change a version's description or tags. Raises `VersionNotFound`, `Contended`."""

        def edited(state: ModelState) -> Event | None:
            found = version_of(state, model_name, version)
            before = VersionMetadata(found.description, found.tags)
            after = edit(replace(before))
            if after == before:
                return None
            return VersionEdited(
                by=by,
                at=precise_timestamp(self._clock()),
                version=version,
                description=after.description,
                tags=after.tags,
            )

        return version_of(self._append(namespace, model_name, edited), model_name, version)

    def delete_version(self, namespace: str, model_name: str, version: int, by: str) -> None:
        """Show a version no longer. Its number stays taken, its files stay. Raises `VersionNotFound`."""

        def deleted(state: ModelState) -> Event:
            version_of(state, model_name, version)
            return VersionDeleted(by=by, at=precise_timestamp(self._clock()), version=version)

        self._append(namespace, model_name, deleted)

    def record_preparation(
        self, namespace: str, model_name: str, version: int, digest: str, done: PreparationStatus
    ) -> None:
        """Record what came of preparing the version with that digest, once. Raises `VersionNotFound`, `Contended`."""

        def noted(state: ModelState) -> Event | None:
            found = version_of(state, model_name, version)
            if found.digest != digest or found.preparation == done:
                return None
            at = precise_timestamp(self._clock())
            return VersionPrepared(by=FIELD_MANAGER, at=at, version=version, digest=digest, preparation=done)

        self._append(namespace, model_name, noted)

    def show(self, namespace: str, model_name: str) -> RegisteredModel:
        """Have the object's status show what the records say."""
        return self.update_status(namespace, model_name, lambda model: view(model, self.state_of(model)))

    def _append(self, namespace: str, model_name: str, draft: Callable[[ModelState], Event | None]) -> ModelState:
        model, _ = self.read(namespace, model_name)
        state = self.ledger(namespace, model.metadata.name).append(draft)
        self.show(namespace, model_name)
        return state


def version_of(state: ModelState, model_name: str, number: int) -> VersionState:
    """Return one version. Raises `VersionNotFound`."""
    version = state.find(number)
    if version is None:
        raise VersionNotFound(f"Model Version (name={model_name}, version={number}) not found")
    return version
