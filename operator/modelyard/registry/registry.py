"""Writes versions and transitions: the record in the artifact store is the commit point, `status` follows.

The tracking server and the operator both use this module, at the same time. Numbers are taken by conditional writes in
the artifact store, `status` is replaced under optimistic concurrency, whoever comes next takes in what a crash left.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import yaml

from modelyard.api.registeredmodel import (
    ASSIGNABLE,
    DESCRIPTION_LIMIT,
    TAG_LIMIT,
    TAG_VALUE_LIMIT,
    RegisteredModel,
    RegisteredModelStatus,
    Stage,
    VersionStatus,
)
from modelyard.artifacts.manifest import Manifest
from modelyard.artifacts.store import AlreadyExists, ArtifactStore, ArtifactStoreUnreachable
from modelyard.cluster.client import ApiError, Client
from modelyard.decide.registeredmodel import Move, StageChange, precise_timestamp
from modelyard.registry.journal import Journal
from modelyard.registry.objects import (
    TRIES,
    Contended,
    LimitExceeded,
    ModelObjects,
    NotInStatus,
    RegistryError,
    VersionNotFound,
)
from modelyard.registry.records import FileRecord, MetadataRecord, MoveRecord, TransitionRecord, VersionRecord, fold

Clock = Callable[[], datetime]

_MLMODEL = "MLmodel"
_MLMODEL_LIMIT = 1 << 20
_FLAVORS_LIMIT = 32


@dataclass(frozen=True)
class Candidate:
    """What is to become a version: `source` as it was given, `artifact` the s3:// directory that it stands for."""

    source: str
    artifact: str
    created_by: str
    run_id: str | None = None
    run_link: str | None = None
    model_id: str | None = None
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


class Registry(ModelObjects):
    """The models of a cluster with their versions. Safe to use from several threads and processes at the same time.

    Every method that reads or writes records may raise `ArtifactStoreUnreachable`, every one that writes `ApiError`.
    """

    def __init__(self, client: Client, store: ArtifactStore, clock: Clock) -> None:
        super().__init__(client)
        self._store = store
        self._clock = clock

    def journal(self, namespace: str, name: str) -> Journal:
        """Return the records of the model in the object `name`."""
        return Journal(self._store, namespace, name)

    def register_version(self, namespace: str, model_name: str, candidate: Candidate) -> VersionStatus:
        """Register a new version of an existing model.

        The files are read first, so a source that is missing takes no number.
        Raises `ArtifactMissing`, `ModelNotFound`, `LimitExceeded`, `Contended`, `NotInStatus`.
        """
        return self._register(namespace, model_name, candidate, None)

    def register_once(self, namespace: str, model_name: str, candidate: Candidate, key: str) -> VersionStatus:
        """The same, but return the version that was registered under `key` (a run id, for one) where there is one."""
        return self._register(namespace, model_name, candidate, key)

    def _register(self, namespace: str, model_name: str, candidate: Candidate, key: str | None) -> VersionStatus:
        model = self.get_model(namespace, model_name)
        journal = self.journal(namespace, model.metadata.name)
        if (earlier := _registered_under(model.status, key)) is not None:
            return earlier
        _check_metadata(candidate.description, candidate.tags)
        manifest = self._store.manifest(candidate.artifact)
        unnumbered = self._version_record(model_name, candidate, manifest, key)
        number = self._take_number(journal, model.status, unnumbered)
        try:
            written = self.update_status(namespace, model_name, lambda model: _with_version(journal, model, number))
        except (ApiError, ArtifactStoreUnreachable, RegistryError) as error:
            raise NotInStatus(
                f"version {number} of {model_name!r} is registered, but its object does not show it yet: {error}"
            ) from error
        return _version_of(written.status, model_name, number)

    def _version_record(
        self, model_name: str, candidate: Candidate, manifest: Manifest, key: str | None
    ) -> VersionRecord:
        return VersionRecord(
            id=uuid.uuid4().hex,
            model=model_name,
            version=1,
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
            idempotency_key=key,
            created_at=precise_timestamp(self._clock()),
            created_by=candidate.created_by,
        )

    def _take_number(self, journal: Journal, status: RegisteredModelStatus, record: VersionRecord) -> int:
        """Write the record under the first free number and return it; or the number it has under its key already."""
        for _ in range(TRIES):
            news = journal.since(status)
            mine = next((version.version for version in news.versions if version.id == record.id), None)
            if mine is not None:
                # The answer to our own write was lost on the way, and the write repeated.
                return mine
            status = news.into(status)
            if (earlier := _registered_under(status, record.idempotency_key)) is not None:
                return earlier.version
            number = status.latest_version + 1
            try:
                journal.add_version(record.model_copy(update={"version": number}))
            except AlreadyExists:
                continue
            except ArtifactStoreUnreachable as error:
                raise NotInStatus(
                    f"whether version {number} of {record.model!r} is registered is not known; look before "
                    f"registering it again: {error}"
                ) from error
            return number
        raise Contended(f"others took every version number of {record.model!r} that was free")

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

    def record_change(
        self, namespace: str, name: str, status: RegisteredModelStatus, change: StageChange
    ) -> TransitionRecord:
        """Write the next transition after those in `status`. Raises `AlreadyExists` where others have written it."""
        record = TransitionRecord(
            id=uuid.uuid4().hex,
            sequence=status.transitions_recorded + 1,
            at=precise_timestamp(self._clock()),
            stages=change.stages,
            moves=tuple(
                MoveRecord(version=move.version, from_=move.from_, to=move.to, by=move.by) for move in change.moves
            ),
        )
        self.journal(namespace, name).add_transition(record)
        return record

    def label_version(self, namespace: str, model_name: str, version: int, stage: Stage, by: str) -> VersionStatus:
        """Move a version that is in no stage to Archived or None.

        Raises `VersionNotFound`, and `RegistryError` where the version is in Staging or Production: `spec.stages`
        decides about those.
        """
        assert stage not in ASSIGNABLE.values()
        model = self.get_model(namespace, model_name)
        journal = self.journal(namespace, model.metadata.name)
        status = model.status
        for _ in range(TRIES):
            status = journal.since(status).into(status)
            found = _version_of(status, model_name, version)
            if any(held.version == version for held in status.stages.values()):
                raise RegistryError(f"version {version} of {model_name} is in {found.stage}: spec.stages decides")
            if found.stage == stage:
                break
            change = StageChange(status.stages, (Move(version, found.stage, stage, by),))
            try:
                self.record_change(namespace, model.metadata.name, status, change)
            except AlreadyExists:
                continue
            break
        else:
            raise Contended(f"others moved versions of {model_name!r} every time")
        written = self.update_status(namespace, model_name, lambda model: _caught_up(journal, model))
        return _version_of(written.status, model_name, version)

    def edit_version(
        self,
        namespace: str,
        model_name: str,
        version: int,
        edit: Callable[[MetadataRecord], MetadataRecord],
    ) -> VersionStatus:
        """Change a version's description or tags. Raises `VersionNotFound`, `LimitExceeded`, `Contended`."""
        model = self.get_model(namespace, model_name)
        found = _version_of(model.status, model_name, version)
        journal = self.journal(namespace, model.metadata.name)
        for _ in range(TRIES):
            stored = journal.metadata(version)
            before, etag = stored or (_metadata_of(found), None)
            edited = edit(before)
            _check_metadata(edited.description, edited.tags)
            if edited == before:
                break
            edited = edited.model_copy(update={"updated_at": precise_timestamp(self._clock())})
            try:
                journal.put_metadata(edited, etag)
            except AlreadyExists:
                continue
            break
        else:
            raise Contended(f"others edited version {version} of {model_name!r} every time")
        written = self.update_status(namespace, model_name, lambda model: _with_edits(journal, model, version))
        return _version_of(written.status, model_name, version)


def _caught_up(journal: Journal, model: RegisteredModel) -> RegisteredModelStatus:
    return journal.since(model.status).into(model.status)


def _with_version(journal: Journal, model: RegisteredModel, number: int) -> RegisteredModelStatus:
    # Somebody else may have taken it in already, with a version of their own.
    return model.status if model.status.find(number) else _caught_up(journal, model)


def _registered_under(status: RegisteredModelStatus, key: str | None) -> VersionStatus | None:
    if key is None:
        return None
    return next((version for version in status.versions if version.idempotency_key == key), None)


def _version_of(status: RegisteredModelStatus, model_name: str, number: int) -> VersionStatus:
    version = status.find(number)
    if version is None:
        raise VersionNotFound(f"registered model {model_name!r} has no version {number}")
    return version


def _metadata_of(version: VersionStatus) -> MetadataRecord:
    return MetadataRecord(
        version=version.version,
        description=version.description,
        tags=version.tags,
        updated_at=version.updated_at or version.created_at,
    )


def _with_edits(journal: Journal, model: RegisteredModel, version: int) -> RegisteredModelStatus:
    # Read after the object: a later edit then also has a later write of the status.
    stored = journal.metadata(version)
    status = _caught_up(journal, model)
    return fold(status, metadata=[stored[0]]) if stored else status


def _check_metadata(description: str | None, tags: dict[str, str]) -> None:
    if description and len(description) > DESCRIPTION_LIMIT:
        raise LimitExceeded(f"a description takes at most {DESCRIPTION_LIMIT} characters, not {len(description)}")
    if len(tags) > TAG_LIMIT:
        raise LimitExceeded(f"a version takes at most {TAG_LIMIT} tags")
    for key, value in tags.items():
        if len(value) > TAG_VALUE_LIMIT:
            raise LimitExceeded(f"tag {key!r}: a value takes at most {TAG_VALUE_LIMIT} characters, not {len(value)}")
