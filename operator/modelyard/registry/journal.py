"""Reads and writes the records of one model in the artifact store."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.api.registeredmodel import RegisteredModelStatus
from modelyard.artifacts.store import AlreadyExists, ArtifactMissing, ArtifactStore
from modelyard.registry.records import MetadataRecord, TransitionRecord, VersionRecord, fold


@dataclass(frozen=True)
class News:
    """Records that a status does not have yet, each list in order."""

    versions: tuple[VersionRecord, ...]
    transitions: tuple[TransitionRecord, ...]
    metadata: tuple[MetadataRecord, ...]

    def into(self, status: RegisteredModelStatus) -> RegisteredModelStatus:
        """Return `status` with these records taken in."""
        return fold(status, self.versions, self.transitions, self.metadata)


class Journal:
    """The records of the model in one object. Every method may raise `ArtifactStoreUnreachable`."""

    def __init__(self, store: ArtifactStore, namespace: str, name: str) -> None:
        self._store = store
        self._root = f"registry/{namespace}/{name}"

    def since(self, status: RegisteredModelStatus) -> News:
        """Return the records that came after those in `status`. Costs two LISTs where there is none."""
        versions = self._after("versions", status.latest_version)
        transitions = self._after("transitions", status.transitions_recorded)
        # Only a version that is new to the status can have edits that the status never had.
        metadata = self._after("metadata", status.latest_version) if versions else []
        return News(
            tuple(VersionRecord.model_validate_json(data) for data in versions),
            tuple(TransitionRecord.model_validate_json(data) for data in transitions),
            tuple(MetadataRecord.model_validate_json(data) for data in metadata),
        )

    def version(self, number: int) -> VersionRecord | None:
        """Return the record of one version, or None."""
        try:
            return VersionRecord.model_validate_json(self._store.get(self._key("versions", number)).data)
        except ArtifactMissing:
            return None

    def add_version(self, record: VersionRecord) -> None:
        """Take the number of `record`. Raises `AlreadyExists` where it is taken."""
        self._store.put_if_absent(self._key("versions", record.version), record.to_json())

    def add_transition(self, record: TransitionRecord) -> None:
        """Take the sequence of `record`. Raises `AlreadyExists` where somebody else has it."""
        key = self._key("transitions", record.sequence)
        try:
            self._store.put_if_absent(key, record.to_json())
        except AlreadyExists:
            # The answer to our own write may have been lost on the way, and the write repeated.
            if TransitionRecord.model_validate_json(self._store.get(key).data).id != record.id:
                raise

    def metadata(self, number: int) -> tuple[MetadataRecord, str] | None:
        """Return a version's edits with the entity tag to replace them by, or None."""
        try:
            stored = self._store.get(self._key("metadata", number))
        except ArtifactMissing:
            return None
        return MetadataRecord.model_validate_json(stored.data), stored.etag

    def put_metadata(self, record: MetadataRecord, etag: str | None) -> None:
        """Replace a version's edits that `etag` names (None: there are none). Raises `AlreadyExists` otherwise."""
        key = self._key("metadata", record.version)
        if etag is None:
            self._store.put_if_absent(key, record.to_json())
        else:
            self._store.put_if_unchanged(key, record.to_json(), etag)

    def _after(self, kind: str, number: int) -> list[bytes]:
        return self._store.get_many(self._store.keys(f"{self._root}/{kind}/", after=self._key(kind, number)))

    def _key(self, kind: str, number: int) -> str:
        return f"{self._root}/{kind}/{number:08d}.json"
