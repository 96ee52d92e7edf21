"""Reads and writes the log of one model in the artifact store, and keeps what it folds to."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable

from pydantic import ValidationError

from modelyard.api.model_status import RecordsStatus
from modelyard.artifacts.manifest import FileEntry, Manifest
from modelyard.artifacts.store import AlreadyExists, ArtifactMissing, ArtifactStore, ArtifactStoreUnreachable
from modelyard.records.events import Event, Sealed, VersionRegistered, digest_of
from modelyard.records.fold import ChainBroken, fold
from modelyard.records.state import ModelState, VersionState
from modelyard.registry.objects import TRIES, Contended, RegistryError

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 256
"""After how many records what they fold to is written, so that a start need not read all of them."""

_KEPT_LEDGERS = 4096

Draft = Callable[[ModelState], Event | None]
"""Makes the next event of what holds, without `id`, `sequence` and `previous`; None where there is nothing to write."""


class RecordsAltered(RegistryError):
    """A record of the log was changed or removed; the message names it. Nothing is written to such a log."""


class Ledger:
    """The log of the model in one object. Safe to use from several threads; other processes write it, too.

    Every method may raise `ArtifactStoreUnreachable` and `RecordsAltered`.
    """

    def __init__(self, store: ArtifactStore, namespace: str, name: str) -> None:
        self._store = store
        self._root = f"registry/{namespace}/{name}"
        self._where = f"registeredmodel {namespace}/{name}"
        self._lock = threading.RLock()
        self._state = ModelState()
        self._cold = True

    def state(self, seen: RecordsStatus) -> ModelState:
        """Return what holds, at least as new as the record that a status has `seen`; usually without any request."""
        with self._lock:
            if self._cold or self._state.sequence < seen.sequence:
                self._refresh()
                self._compare(seen)
            elif self._state.sequence == seen.sequence and self._state.digest != seen.digest:
                self._compare(seen)
            return self._state

    def refresh(self) -> ModelState:
        """Return what holds now: one LIST, and one GET for each new record."""
        with self._lock:
            self._refresh()
            return self._state

    def state_at(self, sequence: int) -> ModelState:
        """Return what held after the record with that sequence; all records up to it are read."""
        with self._lock:
            records = [sealed for sealed in self.events(0) if sealed.event.sequence <= sequence]
            try:
                return fold(ModelState(), records, self._key)
            except ChainBroken as error:
                raise RecordsAltered(f"{self._where}: {error}") from error

    def append(self, draft: Draft) -> ModelState:
        """Write the event that `draft` makes of what holds, and return what holds after it.

        Where somebody else writes first, `draft` is asked again. Raises `Contended`, and whatever `draft` raises.
        """
        identity = uuid.uuid4().hex
        with self._lock:
            if self._cold:
                self._refresh()
            for _ in range(TRIES):
                event = draft(self._state)
                if event is None:
                    return self._state
                if self._written(event.model_copy(update={"id": identity})):
                    return self._state
            raise Contended(f"others wrote the records of {self._where} every time")

    def events(self, after: int) -> list[Sealed]:
        """Return the records that follow the one with that sequence, without looking at the chain."""
        return [self._sealed(key, data) for key, data in self._records(after)]

    def raw(self, after: int, limit: int) -> list[tuple[str, bytes]]:
        """Return at most `limit` records that follow a sequence as they are stored, with their keys."""
        return self._records(after, limit)

    def files(self, version: VersionState) -> Manifest | None:
        """Return the files of a version as they were registered; None where its record cannot be found."""
        try:
            event = self._sealed(version.record, self._store.get(version.record).data).event
        except ArtifactMissing:
            return None
        if not isinstance(event, VersionRegistered) or event.digest != version.digest:
            return None
        return Manifest.of(FileEntry(file.path, file.sha256, file.size, file.etag) for file in event.files)

    def evidence_key(self, name: str) -> str:
        """Return the key under which a validation's log is kept."""
        return f"{self._root}/evidence/{name}"

    def _written(self, event: Event) -> bool:
        """Write the event next; False where another one is there, which has then been taken in."""
        sequence = self._state.sequence + 1
        sealed_event = event.model_copy(update={"sequence": sequence, "previous": self._state.digest})
        data = sealed_event.to_json()
        try:
            self._store.put_if_absent(self._key(sequence), data)
        except AlreadyExists:
            # Others were first; or the answer to our own write was lost on the way, and the write repeated.
            return any(sealed.event.id == event.id for sealed in self._refresh())
        except ArtifactStoreUnreachable:
            # It may have been written all the same.
            self._cold = True
            raise
        self._state = self._folded([Sealed(sealed_event, digest_of(data))])
        if sequence % SNAPSHOT_EVERY == 0:
            self._write_snapshot()
        return True

    def _refresh(self) -> list[Sealed]:
        """Take in what is new; return it."""
        if self._cold:
            self._state = self._snapshot()
        news = self.events(self._state.sequence)
        self._state = self._folded(news)
        self._cold = False
        if len(news) >= SNAPSHOT_EVERY:
            self._write_snapshot()
        return news

    def _folded(self, events: list[Sealed]) -> ModelState:
        try:
            return fold(self._state, events, self._key)
        except ChainBroken as error:
            self._cold = True
            raise RecordsAltered(f"{self._where}: {error}") from error

    def _compare(self, seen: RecordsStatus) -> None:
        """Check that the record which a status has seen is in the log, unchanged."""
        if not seen.sequence:
            return
        if self._state.sequence < seen.sequence:
            self._cold = True
            first = self._state.sequence + 1
            raise RecordsAltered(f"{self._where}: records {first} to {seen.sequence}, which the status knows, are gone")
        digest = self._state.digest if self._state.sequence == seen.sequence else self._digest_at(seen.sequence)
        if digest != seen.digest:
            self._cold = True
            raise RecordsAltered(f"{self._where}: record {seen.sequence} is not the one that the status knows")

    def _digest_at(self, sequence: int) -> str:
        try:
            return digest_of(self._store.get(self._key(sequence)).data)
        except ArtifactMissing:
            return ""

    def _records(self, after: int, limit: int | None = None) -> list[tuple[str, bytes]]:
        keys = self._store.keys(f"{self._root}/log/", after=self._key(after))[:limit]
        return list(zip(keys, self._store.get_many(keys), strict=True))

    def _sealed(self, key: str, data: bytes) -> Sealed:
        try:
            return Sealed.of(data)
        except ValidationError as error:
            raise RecordsAltered(f"{self._where}: {key} is no record: {error.errors()[0]['msg']}") from error

    def _snapshot(self) -> ModelState:
        """Return the last snapshot, if it fits the record that it was made after; else the state before all records."""
        try:
            state = ModelState.model_validate_json(self._store.get(self._snapshot_key).data)
        except (ArtifactMissing, ValidationError):
            return ModelState()
        if self._digest_at(state.sequence) == state.digest:
            return state
        log.warning("%s: the snapshot does not fit record %d; all records are read", self._where, state.sequence)
        return ModelState()

    def _write_snapshot(self) -> None:
        try:
            self._store.put(self._snapshot_key, self._state.model_dump_json(by_alias=True, exclude_none=True).encode())
        except ArtifactStoreUnreachable as error:
            # The records are what counts; the next start reads more of them.
            log.warning("%s: no snapshot was written: %s", self._where, error)

    @property
    def _snapshot_key(self) -> str:
        return f"{self._root}/snapshot.json"

    def _key(self, sequence: int) -> str:
        return f"{self._root}/log/{sequence:08d}.json"


class Ledgers:
    """The logs of all models, each kept once in a process."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str], Ledger] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, namespace: str, name: str) -> Ledger:
        """Return the log of the model in the object `name`."""
        with self._lock:
            ledger = self._known.get((namespace, name))
            if ledger is None:
                ledger = self._known[namespace, name] = Ledger(self._store, namespace, name)
                if len(self._known) > _KEPT_LEDGERS:
                    self._known.popitem(last=False)
            else:
                self._known.move_to_end((namespace, name))
            return ledger
