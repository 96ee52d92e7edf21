"""Brings the stages of a RegisteredModel to what its spec names, as far as its versions are sound."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from modelyard.api.registeredmodel import RegisteredModel, RegisteredModelStatus
from modelyard.artifacts.store import AlreadyExists, ArtifactStore, ArtifactStoreUnreachable
from modelyard.cluster.client import Client, Conflict
from modelyard.decide.conditions import Verdict, conditions
from modelyard.decide.registeredmodel import Checks, Fault, decide, to_verify, unreachable
from modelyard.reconcile.base import Clock, Outcome
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.records import fold
from modelyard.registry.registry import Registry
from modelyard.registry.verification import Verification

log = logging.getLogger(__name__)

VERIFY_SECONDS = 60.0
"""How often the files of versions that a stage holds or asks for are looked at: one LIST each where all is well."""

TAKE_IN_SECONDS = 600.0
"""How often the records are listed for one that a crashed writer left out of the status."""

RETRY_SECONDS = 15.0
"""How soon to look again where the artifact store did not answer."""

_TRIES = 10


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
    verdicts: tuple[Verdict, ...]
    recorded: bool = False
    """A transition was recorded, and the object's status does not have it yet."""
    retry: bool = False
    """The artifact store did not answer."""


class RegisteredModelReconciler:
    """Reconciles RegisteredModels."""

    def __init__(self, client: Client, store: ArtifactStore, clock: Clock) -> None:
        self._client = client
        self._registry = Registry(client, store, clock)
        self._verification = Verification(store)
        self._clock = clock
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
            model = RegisteredModel.parse(body)
            memory = self._memory(model)
            now = self._clock()
            try:
                step = self._step(model, memory, now)
                reported = conditions(model.status.conditions, step.verdicts, model.metadata.generation, now)
                self._registry.write_status(body, model, step.status.model_copy(update={"conditions": reported}))
            except (AlreadyExists, Conflict):
                # Somebody else recorded a transition or wrote the object: take that in and decide again.
                memory.taken_in_at = None
                continue
            if step.recorded:
                memory.taken_in_at = now
                log.info("%s/%s: %s", namespace, name, step.verdicts[0].message)
            if step.retry:
                return Outcome(RETRY_SECONDS)
            return Outcome(VERIFY_SECONDS if memory.checks else TAKE_IN_SECONDS)
        raise Conflict(409, "Conflict", f"registeredmodel {namespace}/{name} was written by others {_TRIES} times")

    def _memory(self, model: RegisteredModel) -> _Memory:
        key = (model.metadata.namespace, model.metadata.name)
        memory = self._memories.get(key)
        if memory is None or memory.uid != model.metadata.uid:
            # An object that was deleted and created again has a status to be worked out from the records.
            memory = self._memories[key] = _Memory(model.metadata.uid)
        return memory

    def _step(self, model: RegisteredModel, memory: _Memory, now: datetime) -> _Step:
        """Decide, and record the change that was decided on.

        Raises `AlreadyExists` where the status lacks a transition that somebody recorded.
        """
        before = model.status
        restored = before.observed_generation is not None
        try:
            if not restored or _due(memory.taken_in_at, now, TAKE_IN_SECONDS):
                model = self._taken_in(model)
                memory.taken_in_at = now
        except ArtifactStoreUnreachable as error:
            if not restored:
                return _Step(before, unreachable(before, str(error)), retry=True)
            log.warning("%s/%s: %s", model.metadata.namespace, model.metadata.name, error)
        decision = decide(model, self._checks(model, memory, now), now)
        passing = any(fault and fault.passing for fault in memory.checks.values())
        observed = model.status.model_copy(update={"observed_generation": model.metadata.generation})
        if decision.change is None:
            return _Step(observed, decision.verdicts, retry=passing)
        # From here until the status is written the records are ahead of it.
        memory.taken_in_at = None
        try:
            record = self._registry.record_change(
                model.metadata.namespace, model.metadata.name, model.status, decision.change
            )
        except ArtifactStoreUnreachable as error:
            return _Step(model.status, unreachable(model.status, str(error)), retry=True)
        return _Step(fold(observed, transitions=[record]), decision.verdicts, recorded=True, retry=passing)

    def _taken_in(self, model: RegisteredModel) -> RegisteredModel:
        journal = self._registry.journal(model.metadata.namespace, model.metadata.name)
        return model.model_copy(update={"status": journal.since(model.status).into(model.status)})

    def _checks(self, model: RegisteredModel, memory: _Memory, now: datetime) -> Checks:
        """Return what is known of the versions that count; looked up again when due or when the spec has changed."""
        edited = model.metadata.generation != model.status.observed_generation
        passing = any(fault and fault.passing for fault in memory.checks.values())
        if edited or passing or _due(memory.checked_at, now, VERIFY_SECONDS):
            memory.checks, memory.checked_at = {}, now
        wanted = to_verify(model)
        held = {stage.version for stage in model.status.stages.values()}
        journal = self._registry.journal(model.metadata.namespace, model.metadata.name)
        for version in model.status.versions:
            if version.version in wanted and version.version not in memory.checks:
                in_stage = version.version in held
                memory.checks[version.version] = self._verification.check(journal, version, in_stage=in_stage)
        return memory.checks


def _due(last: datetime | None, now: datetime, seconds: float) -> bool:
    return last is None or now - last >= timedelta(seconds=seconds)
