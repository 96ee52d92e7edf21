"""Deletes the files of archived versions as `spec.retention` says: announced by a record first, then done."""

from __future__ import annotations

import logging

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import FIELD_MANAGER
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import ArtifactStore
from modelyard.cluster.client import Client
from modelyard.cluster.resources import of_kind
from modelyard.decide.registeredmodel import Fault
from modelyard.decide.retention import (
    RetentionPlan,
    Surroundings,
    directories,
    plan,
    prepared_directories,
    served_by_number,
)
from modelyard.reconcile.base import Clock
from modelyard.records.events import PurgeStep, VersionsPurged
from modelyard.records.state import ModelState
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Registry

log = logging.getLogger(__name__)

AT_ONCE = 50
"""How many versions lose their files in one step, so that promotions do not wait for long."""


class RetentionFollower:
    """Carries `spec.retention` out."""

    def __init__(
        self, client: Client, store: ArtifactStore, registry: Registry, artifacts_destination: str, clock: Clock
    ) -> None:
        self._client = client
        self._store = store
        self._registry = registry
        self._destination = artifacts_destination
        self._clock = clock

    def __call__(self, model: RegisteredModel, state: ModelState) -> tuple[ModelState, tuple[Fault, ...]]:
        """Do the next step: delete what was announced, or announce what is to go."""
        announced = [version.version for version in state.versions.values() if version.purge == PurgeStep.DELETING]
        if announced:
            return self._carry_out(model, state, announced[:AT_ONCE]), ()
        retention = model.spec.retention
        if retention is None:
            return state, ()
        if not plan(model, state, retention, Surroundings(self._destination), self._clock()).purge:
            # Nothing would go even if nobody else relied on it: no need to ask around.
            return state, ()
        going = list(self.planned(model, state).purge)
        return (self._recorded(model, state, going[:AT_ONCE], PurgeStep.DELETING) if going else state), ()

    def planned(self, model: RegisteredModel, state: ModelState) -> RetentionPlan:
        """Return what `spec.retention` comes to at this moment, with everything that others rely on."""
        assert model.spec.retention is not None
        return plan(model, state, model.spec.retention, self._surroundings(model), self._clock())

    def _carry_out(self, model: RegisteredModel, state: ModelState, announced: list[int]) -> ModelState:
        """Delete the files of versions that were announced, but for those that somebody has asked for since."""
        asked_for = {
            *model.wanted_stages.values(),
            *model.aliases.values(),
            *(held.version for held in state.stages.values()),
            *self._served(model),
        }
        kept = [number for number in announced if number in asked_for]
        going = [number for number in announced if number not in asked_for]
        for number in going:
            count = self._store.delete_directory(state.versions[number].artifact)
            for directory in prepared_directories(state, number):
                count += self._store.delete_directory(self._store.uri(directory))
            log.info(
                "%s/%s: version %d: %d files deleted by spec.retention",
                model.metadata.namespace,
                model.metadata.name,
                number,
                count,
            )
        if kept:
            state = self._recorded(model, state, kept, PurgeStep.KEPT)
        return self._recorded(model, state, going, PurgeStep.DELETED) if going else state

    def _recorded(self, model: RegisteredModel, state: ModelState, versions: list[int], step: PurgeStep) -> ModelState:
        event = VersionsPurged(by=FIELD_MANAGER, versions=tuple(sorted(versions)), step=step)
        return self._registry.record(model, state, event)

    def _surroundings(self, model: RegisteredModel) -> Surroundings:
        elsewhere: frozenset[str] = frozenset()
        # A copied version has the files of the one that it was copied from.
        for other in map(RegisteredModel.parse, self._client.list_all(REGISTERED_MODELS)):
            if other.metadata.uid != model.metadata.uid:
                elsewhere |= directories(self._registry.state_of(other))
        return Surroundings(self._destination, self._served(model), elsewhere)

    def _served(self, model: RegisteredModel) -> frozenset[int]:
        deployments = self._client.list_all(of_kind(ModelDeployment), model.metadata.namespace)
        return served_by_number(model, map(ModelDeployment.parse, deployments))
