"""Brings the stages of a RegisteredModel to what its spec names, if the versions are sound and pass the gates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from modelyard.api.model_status import CandidateStatus, RegisteredModelStatus
from modelyard.api.names import FIELD_MANAGER, editor_annotation
from modelyard.api.registeredmodel import STAGE_KEYS, RegisteredModel
from modelyard.artifacts.store import ArtifactStore, ArtifactStoreUnreachable
from modelyard.cluster.client import Client, Conflict, NotFound
from modelyard.decide.conditions import Verdict, conditions
from modelyard.decide.managers import last_editor
from modelyard.decide.registeredmodel import (
    Checks,
    Fault,
    altered,
    decide,
    inherited,
    to_judge,
    to_verify,
    unreachable,
)
from modelyard.reconcile.base import Clock, Outcome
from modelyard.records.events import ModelEdited, PromotionRefused, StageGates
from modelyard.records.state import ModelState
from modelyard.records.view import view
from modelyard.registry.ledger import RecordsAltered
from modelyard.registry.lifecycle import Lifecycle
from modelyard.registry.objects import REGISTERED_MODELS, Outdated
from modelyard.registry.registry import Registry
from modelyard.registry.verification import Verification

log = logging.getLogger(__name__)

VERIFY_SECONDS = 60.0
"""How often the files of versions that somebody relies on are looked at: one LIST each where all is well."""

TAKE_IN_SECONDS = 600.0
"""How often the records are listed for one that a crashed writer left out of the status."""

RETRY_SECONDS = 15.0
"""How soon to look again where the artifact store did not answer."""

_TRIES = 10


@dataclass(frozen=True)
class Judged:
    """How a version stands that is to enter a stage."""

    result: Fault | StageGates
    """What keeps it out, or what it passed."""
    candidate: CandidateStatus | None = None
    refusal: PromotionRefused | None = None
    """A refusal that the records do not have yet."""


class Judge(Protocol):
    """What judges versions by the gates of a stage; see `reconcile.gates`."""

    def __call__(self, model: RegisteredModel, state: ModelState, stage: str, version: int) -> Judged:
        """Judge the version by `spec.gates[stage]`, which are not empty."""


class Follower(Protocol):
    """Something else that follows from a model's state, and may write records of its own; see `reconcile.declared`."""

    def __call__(self, model: RegisteredModel, state: ModelState) -> tuple[ModelState, tuple[Fault, ...]]:
        """Do it; return the state after it, and what is to be mended."""


@dataclass
class _Memory:
    """What this process knows of one object besides the object itself. Losing it costs time, nothing else."""

    uid: str
    taken_in_at: datetime | None = None
    checked_at: datetime | None = None
    checks: dict[int, Fault | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """What one look at an object comes to: its status without conditions, and their verdicts."""

    status: RegisteredModelStatus
    verdicts: tuple[Verdict, ...] | None
    """None where what was said before still stands."""
    recorded: bool = False
    """Something was recorded, and the object's status does not have it yet."""
    retry: bool = False
    """Something outside did not answer."""
    faulty: bool = False
    """Something is to be mended, here or outside."""


class RegisteredModelReconciler:
    """Reconciles RegisteredModels."""

    def __init__(
        self,
        client: Client,
        store: ArtifactStore,
        clock: Clock,
        *,
        registry: Registry | None = None,
        judge: Judge | None = None,
        revision: Callable[[RegisteredModel, str], str | None] = lambda *_: None,
        followers: Sequence[Follower] = (),
        editors_known: bool = False,
    ) -> None:
        """`revision` returns the Git revision behind a field manager's edit of a model, where that is known.

        `editors_known` says that admission writes down who changes a stage; without it anybody could.
        """
        self._client = client
        self._registry = registry or Registry(client, store, clock)
        self._lifecycle = Lifecycle(self._registry, clock)
        self._verification = Verification(store)
        self._clock = clock
        self._judge = judge
        self._revision = revision
        self._followers = followers
        self._editors_known = editors_known
        self._memories: dict[tuple[str, str], _Memory] = {}

    def __call__(self, namespace: str, name: str) -> Outcome:
        """Reconcile one object.

        Raises `Conflict` where others wrote it every time, `ApiError` where the API server does not take the status.
        """
        for _ in range(_TRIES):
            body = self._client.find(REGISTERED_MODELS, namespace, name)
            if body is None or body["metadata"].get("deletionTimestamp"):
                self._memories.pop((namespace, name), None)
                return Outcome()
            model = self._parse(body)
            memory = self._memory(model)
            now = self._clock()
            try:
                step = self._step(model, memory, now)
                if step is None:
                    return Outcome()
                if step.verdicts is None:
                    return Outcome(RETRY_SECONDS)
                reported = conditions(model.status.conditions, step.verdicts, model.metadata.generation, now)
                self._registry.write_status(body, model, step.status.model_copy(update={"conditions": reported}))
            except (Outdated, Conflict, NotFound):
                # Somebody else wrote a record or the object, or deleted it: take that in and decide again.
                memory.taken_in_at = None
                continue
            if step.recorded:
                memory.taken_in_at = now
                log.info("%s/%s: %s", namespace, name, step.verdicts[0].message)
            if step.retry:
                return Outcome(RETRY_SECONDS)
            return Outcome(VERIFY_SECONDS if memory.checks or step.faulty else TAKE_IN_SECONDS)
        raise Conflict(409, "Conflict", f"registeredmodel {namespace}/{name} was written by others {_TRIES} times")

    def _parse(self, body: dict[str, Any]) -> RegisteredModel:
        model = RegisteredModel.parse(body)
        if self._editors_known:
            return model
        claimed = {editor_annotation(key) for key in STAGE_KEYS}
        annotations = {key: value for key, value in model.metadata.annotations.items() if key not in claimed}
        return model.model_copy(update={"metadata": model.metadata.model_copy(update={"annotations": annotations})})

    def _memory(self, model: RegisteredModel) -> _Memory:
        key = (model.metadata.namespace, model.metadata.name)
        memory = self._memories.get(key)
        if memory is None or memory.uid != model.metadata.uid:
            # An object that was deleted and created again has a status to be worked out from the records.
            memory = self._memories[key] = _Memory(model.metadata.uid)
        return memory

    def _step(self, model: RegisteredModel, memory: _Memory, now: datetime) -> _Step | None:
        """Decide, and record what was decided on; None where the model was deleted or renamed.

        Raises `Outdated` where others have written records meanwhile.
        """
        try:
            state = self._state(model, memory, now)
            if state.has_ended(model.metadata.uid):
                self._lifecycle.finish(model, state, FIELD_MANAGER)
                return None
            return self._decided(model, state, memory, now)
        except ArtifactStoreUnreachable as error:
            log.warning("%s/%s: %s", model.metadata.namespace, model.metadata.name, error)
            if model.status.observed_generation == model.metadata.generation:
                # Nothing new is asked for, and the store's silence says nothing against what was good.
                return _Step(model.status, None, retry=True)
            return _Step(model.status, unreachable(model.status, str(error)), retry=True)
        except RecordsAltered as error:
            log.error("%s/%s: %s", model.metadata.namespace, model.metadata.name, error)
            return _Step(model.status, altered(str(error)), retry=True)

    def _state(self, model: RegisteredModel, memory: _Memory, now: datetime) -> ModelState:
        if _due(memory.taken_in_at, now, TAKE_IN_SECONDS):
            ledger = self._registry.ledger(model.metadata.namespace, model.metadata.name)
            try:
                ledger.refresh()
                memory.taken_in_at = now
            except ArtifactStoreUnreachable:
                if model.status.observed_generation is None:
                    raise
        return self._registry.state_of(model)

    def _decided(self, model: RegisteredModel, state: ModelState, memory: _Memory, now: datetime) -> _Step:
        before = state
        model = _with_status(model, {"inherited": inherited(model, state)})
        state = self._edited(model, state)
        faults: tuple[Fault, ...] = ()
        for follower in self._followers:
            state, found = follower(model, state)
            faults += found
        checks = self._checks(model, state, memory, now)
        verdicts = self._judged(model, state, checks)
        gated = {stage: each.result for stage, each in verdicts.items()}
        decision = decide(model, state, checks, gated, now, faults=faults)
        for refusal in [each.refusal for each in verdicts.values() if each.refusal]:
            revision = self._revision(model, refusal.by)
            state = self._registry.record(model, state, refusal.model_copy(update={"revision": revision}))
        if decision.change is not None:
            revision = self._revision(model, decision.change.by)
            state = self._registry.record(model, state, decision.change.model_copy(update={"revision": revision}))
        status = view(model, state).model_copy(
            update={
                "observed_generation": model.metadata.generation,
                "candidates": tuple(each.candidate for _, each in sorted(verdicts.items()) if each.candidate),
            }
        )
        passing = any(fault and fault.passing for fault in memory.checks.values())
        passing |= any(isinstance(each.result, Fault) and each.result.passing for each in verdicts.values())
        passing |= any(fault.passing for fault in faults)
        return _Step(
            status, decision.verdicts, recorded=state.sequence != before.sequence, retry=passing, faulty=bool(faults)
        )

    def _edited(self, model: RegisteredModel, state: ModelState) -> ModelState:
        """Record the model's description, tags and aliases where they are not those that were recorded last."""
        if (model.description, model.tags, model.aliases) == (state.description, state.tags, state.aliases):
            return state
        event = ModelEdited(
            by=last_editor(model.metadata.managed_fields)[:128],
            description=model.description,
            tags=model.tags,
            aliases=model.aliases,
        )
        return self._registry.record(model, state, event)

    def _judged(self, model: RegisteredModel, state: ModelState, checks: Checks) -> dict[str, Judged]:
        if self._judge is None:
            return {}
        entering = to_judge(model, state, checks)
        return {
            stage: self._judge(model, state, stage, version)
            for stage, version in entering.items()
            if model.spec.gates.get(stage)
        }

    def _checks(self, model: RegisteredModel, state: ModelState, memory: _Memory, now: datetime) -> Checks:
        """Return what is known of the versions that count; looked up again when due or when the spec has changed."""
        edited = model.metadata.generation != model.status.observed_generation
        passing = any(fault and fault.passing for fault in memory.checks.values())
        if edited or passing or _due(memory.checked_at, now, VERIFY_SECONDS):
            memory.checks, memory.checked_at = {}, now
        held = {stage.version for stage in state.stages.values()}
        ledger = self._registry.ledger(model.metadata.namespace, model.metadata.name)
        for number in sorted(to_verify(model, state) - memory.checks.keys()):
            in_stage = number in held
            memory.checks[number] = self._verification.check(ledger, state.versions[number], in_stage=in_stage)
        return memory.checks


def _with_status(model: RegisteredModel, changed: dict[str, object]) -> RegisteredModel:
    return model.model_copy(update={"status": model.status.model_copy(update=changed)})


def _due(last: datetime | None, now: datetime, seconds: float) -> bool:
    return last is None or now - last >= timedelta(seconds=seconds)
