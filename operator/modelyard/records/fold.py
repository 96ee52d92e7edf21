"""Folds events into a state, and checks the chain while doing so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from modelyard.api.model_status import TransitionStatus
from modelyard.api.stages import Stage
from modelyard.records.events import (
    Event,
    ModelContinued,
    ModelDeleted,
    ModelEdited,
    ModelRenamed,
    PromotionRefused,
    PurgeStep,
    Sealed,
    StagesChanged,
    VersionDeleted,
    VersionEdited,
    VersionPrepared,
    VersionRegistered,
    VersionsPurged,
)
from modelyard.records.state import Ended, ModelState, Refusal, VersionState

TRANSITIONS_KEPT = 20


class ChainBroken(Exception):
    """A record is not the one that was written: it was changed, removed or put in later."""

    def __init__(self, sequence: int, message: str) -> None:
        super().__init__(f"record {sequence}: {message}")
        self.sequence = sequence


def fold(state: ModelState, events: Iterable[Sealed], key_of: Callable[[int], str] = str) -> ModelState:
    """Return `state` with the events taken in, which follow it in order.

    `key_of` gives the key of the record with a sequence. Raises `ChainBroken`.
    """
    folding = _Folding(state)
    for sealed in events:
        event = sealed.event
        if event.sequence != folding.sequence + 1:
            raise ChainBroken(folding.sequence + 1, f"it is missing; what follows says it is record {event.sequence}")
        if event.previous != folding.digest:
            raise ChainBroken(folding.sequence, f"record {event.sequence} was written after one with another content")
        folding.take(event, key_of(event.sequence))
        folding.sequence, folding.digest = event.sequence, sealed.digest
    return folding.state()


class _Folding:
    """A state while events are taken in; versions are copied once, not for every event."""

    def __init__(self, state: ModelState) -> None:
        self._before = state
        self._draft: dict[str, Any] = {}
        self.sequence = state.sequence
        self.digest = state.digest
        self.versions = dict(state.versions)
        self.transitions = list(reversed(state.transitions))
        self.refusals = dict(state.refusals)

    def state(self) -> ModelState:
        if self.sequence == self._before.sequence:
            return self._before
        return self._before.model_copy(
            update={
                **self._draft,
                "sequence": self.sequence,
                "digest": self.digest,
                "versions": self.versions,
                "transitions": tuple(reversed(self.transitions[-TRANSITIONS_KEPT:])),
                "refusals": self.refusals,
            }
        )

    def take(self, event: Event, key: str) -> None:
        match event:
            case VersionRegistered():
                self._registered(event, key)
            case VersionEdited():
                self._version_edited(event)
            case VersionDeleted():
                self._edit(event.version, deleted=True, updated_at=event.at)
                self._draft["updated_at"] = event.at
            case VersionPrepared():
                self._prepared(event)
            case StagesChanged():
                self._stages_changed(event)
            case PromotionRefused():
                self.refusals[event.stage] = Refusal(
                    version=event.version, fingerprint=event.fingerprint, at=event.at, gates=event.gates
                )
            case ModelEdited():
                self._model_edited(event)
            case VersionsPurged():
                self._purged(event)
            case ModelDeleted():
                self._end(Ended(uid=event.uid))
            case ModelRenamed():
                self._end(Ended(uid=event.uid, renamed_to=event.to))
            case ModelContinued():
                self._continued(event)

    def _registered(self, event: VersionRegistered, key: str) -> None:
        self.versions[event.version] = VersionState(
            version=event.version,
            source=event.source,
            artifact=event.artifact,
            digest=event.digest,
            run_id=event.run_id,
            run_link=event.run_link,
            model_id=event.model_id,
            flavors=event.flavors,
            created_at=event.at,
            created_by=event.by,
            idempotency_key=event.idempotency_key,
            description=event.description,
            tags=event.tags,
            metrics=event.metrics,
            record=key,
        )
        latest = self._draft.get("latest_version", self._before.latest_version)
        self._draft.update(latest_version=max(latest, event.version), updated_at=event.at)

    def _version_edited(self, event: VersionEdited) -> None:
        before = self.versions.get(event.version)
        if before is not None:
            # As in MLflow: setting a tag is no update of the version.
            updated_at = before.updated_at if before.description == event.description else event.at
            self._edit(event.version, description=event.description, tags=event.tags, updated_at=updated_at)

    def _model_edited(self, event: ModelEdited) -> None:
        updated_at = self._draft.get("updated_at", self._before.updated_at)
        if updated_at is None or event.description != self._draft.get("description", self._before.description):
            self._draft["updated_at"] = event.at
        self._draft.update(description=event.description, tags=event.tags, aliases=event.aliases)

    def _edit(self, number: int, **changed: Any) -> None:
        if number in self.versions:
            self.versions[number] = self.versions[number].model_copy(update=changed)

    def _stages_changed(self, event: StagesChanged) -> None:
        self._draft["stages"] = event.stages
        if event.moves:
            self._draft["updated_at"] = event.at
        passed = {each.version: f"{len(each.gates)} passed" for each in event.gates}
        for move in event.moves:
            self.transitions.append(
                TransitionStatus(
                    sequence=event.sequence,
                    version=move.version,
                    from_=move.from_,
                    to=move.to,
                    at=event.at,
                    by=move.by,
                    user=move.user,
                    revision=event.revision,
                    gates=passed.get(move.version),
                )
            )
            version = self.versions.get(move.version)
            if version is not None:
                archived_at = event.at if move.to == Stage.ARCHIVED else None
                self._edit(move.version, stage=move.to, updated_at=event.at, archived_at=archived_at)
        for key, held in event.stages.items():
            # A version may enter a stage without a move: one that counts as Production can be in Staging, too.
            version = self.versions.get(held.version)
            stage = Stage(key.capitalize())
            if version is not None and stage not in version.been_in:
                self._edit(held.version, been_in=(*version.been_in, stage))

    def _prepared(self, event: VersionPrepared) -> None:
        version = self.versions.get(event.version)
        if version is not None and version.digest == event.digest:
            below = tuple(dict.fromkeys((*version.prepared_in, event.preparation.directory)))
            self._edit(event.version, preparation=event.preparation, prepared_in=below)

    def _purged(self, event: VersionsPurged) -> None:
        for number in event.versions:
            self._edit(number, purge=None if event.step == PurgeStep.KEPT else event.step)
            if event.step == PurgeStep.DELETED:
                self._edit(number, preparation=None, prepared_in=())

    def _end(self, ended: Ended) -> None:
        self.versions, self.refusals = {}, {}
        self._draft.update(
            ended=ended, stages={}, description=None, tags={}, aliases={}, created_at=None, updated_at=None
        )

    def _continued(self, event: ModelContinued) -> None:
        came = ModelState.model_validate(event.state)
        counted = self._draft.get("latest_version", self._before.latest_version)
        self.versions = {
            number: version.model_copy(update={"updated_at": event.at}) for number, version in came.versions.items()
        }
        self.refusals = dict(came.refusals)
        self.transitions = list(reversed(came.transitions))
        self._draft.update(
            latest_version=max(counted, came.latest_version),
            stages=came.stages,
            description=came.description,
            tags=came.tags,
            aliases=came.aliases,
            created_at=came.created_at,
            updated_at=event.at,
            ended=None,
            continued_from=event.digest,
        )
