"""Brings a ModelDeployment's objects and status to what the registry and its spec ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import DEPLOYMENT_LABEL, REVISION_LABEL
from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.rollout import TrafficMethod
from modelyard.api.serving import ServedModel, pod_labels
from modelyard.cluster.client import Client, NotFound
from modelyard.cluster.ensure import ensure_status
from modelyard.cluster.resources import DEPLOYMENTS, EVENTS, PODS, SERVICES, of_kind
from modelyard.decide.conditions import Verdict
from modelyard.decide.modeldeployment import (
    NOTHING,
    Problem,
    Revision,
    Traffic,
    parse_time,
    reported,
    served_model,
    wanted_version,
)
from modelyard.decide.modeldeployment_status import Observation, status
from modelyard.decide.pods import Diagnosis, diagnose, needs_events, restarts
from modelyard.decide.preparation import accelerated, note_of
from modelyard.decide.rollout import Observed, Plan, frozen, is_paused, plan
from modelyard.reconcile.base import Clock, Outcome
from modelyard.reconcile.deployment_analysis import DeploymentAnalysis
from modelyard.reconcile.deployment_objects import DeploymentObjects, Live
from modelyard.reconcile.deployment_surroundings import Surroundings
from modelyard.reconcile.preparation import Look, Preparations
from modelyard.reconcile.reader import ensure_reader_secret
from modelyard.records.state import ModelState
from modelyard.settings import Settings

Json = dict[str, Any]
log = logging.getLogger(__name__)

RESYNC_SECONDS = 300.0
"""How often an object is looked at although no event asks for it: Secrets, for one, are not watched."""


PATIENCE_SECONDS = 5.0
"""How long pods may take to start before more is asked for: most need less, and what they wait for costs a list."""


@dataclass(frozen=True)
class _Pods:
    """The pods of one revision, as far as they had to be looked at."""

    fault: Diagnosis | None = None
    restarts: int = 0


class ModelDeploymentReconciler:
    """Reconciles ModelDeployments."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        clock: Clock,
        state_of: Callable[[RegisteredModel], ModelState],
        analysis: DeploymentAnalysis,
        *,
        preparations: Preparations | None = None,
    ) -> None:
        """`state_of` returns all versions of a model: a status shows the newest only.

        Without `preparations` versions are served as they are.
        """
        self._client = client
        self._state_of = state_of
        self._settings = settings
        self._clock = clock
        self._analysis = analysis
        self._preparations = preparations
        self._objects = DeploymentObjects(client, settings)
        self._surroundings = Surroundings(client, clock)

    def __call__(self, namespace: str, name: str) -> Outcome:
        """Reconcile one object."""
        body = self._client.find(of_kind(ModelDeployment), namespace, name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            self._analysis.forget(namespace, name)
            return Outcome()
        owner = ModelDeployment.parse(body)
        model = self._model(owner)
        wanted = wanted_version(owner, model)
        live = Live(self._deployments(owner), self._client.find(SERVICES, namespace, name))
        look = Look(wanted)
        if self._preparations and not is_paused(owner):
            look = self._preparations.look(owner, model, wanted, live.deployments)
        wanted = look.wanted
        method = self._surroundings.method(owner)
        seen = self._observe(owner, wanted, live, method)
        if is_paused(owner):
            decided = frozen(owner, seen)
        else:
            decided = plan(owner, seen)
            owner = self._note_refusal(owner, decided)
            if decided.pods:
                ensure_reader_secret(self._client, self._settings, namespace)
            self._objects.carry_out(owner, self._models(owner, wanted, model, decided), decided, live)
        result = self._result(owner, wanted, decided, live)
        self._write_status(owner, result)
        return Outcome(min(_again(decided, result), look.again_after or RESYNC_SECONDS))

    # What there is

    def _model(self, owner: ModelDeployment) -> RegisteredModel | None:
        name = RegisteredModel.object_name_of(owner.spec.model.name)
        body = self._client.find(of_kind(RegisteredModel), owner.metadata.namespace, name)
        model = RegisteredModel.parse(body) if body else None
        number = owner.spec.model.version
        if model is not None and number is not None and model.status.find(number) is None:
            return self._whole(model)
        return model

    def _whole(self, model: RegisteredModel) -> RegisteredModel:
        """Return the model with all its versions."""
        versions = tuple(self._state_of(model).shown)
        return model.model_copy(update={"status": model.status.model_copy(update={"versions": versions})})

    def _deployments(self, owner: ModelDeployment) -> dict[str, Json]:
        """Return the live Deployments by revision; those that are going do not count."""
        labels = f"{DEPLOYMENT_LABEL}={owner.metadata.name}"
        found = self._client.list_all(DEPLOYMENTS, owner.metadata.namespace, labels)
        return {
            body["metadata"]["labels"][REVISION_LABEL]: body
            for body in found
            if REVISION_LABEL in body["metadata"]["labels"] and not body["metadata"].get("deletionTimestamp")
        }

    def _models(
        self, owner: ModelDeployment, wanted: ServedModel | Problem, model: RegisteredModel | None, decided: Plan
    ) -> dict[str, ServedModel]:
        """Return what is known of the revisions whose Deployments are kept up: the wanted one and the served one."""
        models = {} if isinstance(wanted, Problem) else {wanted.revision: wanted}
        if model is not None and decided.stable not in (NOTHING, *models):
            found = _serving(model, decided.stable) or _serving(self._whole(model), decided.stable)
            models.update({revision: self._known(owner, model, served) for revision, served in found.items()})
        return models

    def _known(self, owner: ModelDeployment, model: RegisteredModel, served: ServedModel) -> ServedModel:
        return self._preparations.known(owner, model, served) if self._preparations else served

    def _observe(
        self, owner: ModelDeployment, wanted: ServedModel | Problem, live: Live, method: TrafficMethod
    ) -> Observed:
        revisions = {revision: Revision.of(deployment) for revision, deployment in live.deployments.items()}
        pods = self._pods(owner, _revision(wanted), live)
        seen = Observed(
            wanted=wanted,
            revisions=revisions,
            traffic=Traffic.of(live.service),
            before=reported(owner),
            method=method,
            now=self._clock(),
            fault=pods.fault,
            restarts=pods.restarts,
        )
        return self._analysis.judged(owner, seen)

    def _pods(self, owner: ModelDeployment, revision: str, live: Live) -> _Pods:
        """Look at the pods of a revision, where they are not all ready."""
        body = live.deployments.get(revision)
        if body is None or (Revision.of(body).settled and not owner.status.rollout):
            return _Pods()
        labels = ",".join(f"{key}={value}" for key, value in pod_labels(owner.metadata.name, revision).items())
        pods = self._client.list_all(PODS, owner.metadata.namespace, labels)
        fault = None if Revision.of(body).settled else diagnose(body, pods, self._events(owner, pods))
        return _Pods(fault, restarts(pods))

    def _events(self, owner: ModelDeployment, pods: list[Json]) -> list[Json]:
        """Return the Events about pods whose containers do not start, of which the pods themselves say nothing."""
        if not needs_events(pods) or all(self._age(pod) < PATIENCE_SECONDS for pod in pods):
            return []
        names = {pod["metadata"]["name"] for pod in pods}
        events = self._client.list_all(EVENTS, owner.metadata.namespace)
        return [event for event in events if (event.get("regarding") or {}).get("name") in names]

    def _age(self, pod: Json) -> float:
        """Return how long the pod has been there, in seconds."""
        return (self._clock() - parse_time(pod["metadata"]["creationTimestamp"])).total_seconds()

    # What comes of it

    def _note_refusal(self, owner: ModelDeployment, decided: Plan) -> ModelDeployment:
        """Write down that a version is taken back before it is: whatever happens then, it is not tried again."""
        if decided.refused is None or decided.refused == owner.status.refused:
            return owner
        noted = owner.status.model_copy(update={"refused": decided.refused, "rollout": None, "weight": None})
        log.warning("modeldeployment %s/%s: %s", *_names(owner), decided.refused.message)
        ensure_status(self._client, owner, noted, owner.status)
        return owner.model_copy(update={"status": noted})

    def _result(self, owner: ModelDeployment, wanted: ServedModel | Problem, decided: Plan, live: Live) -> Observation:
        revisions = {revision: Revision.of(deployment) for revision, deployment in live.deployments.items()}
        faults = {name: self._pods(owner, name, live).fault for name in {_revision(wanted), decided.stable}}
        return Observation(
            wanted=wanted,
            plan=decided,
            revisions=revisions,
            fault=faults[_revision(wanted)],
            stable_fault=faults[decided.stable],
            refused=live.refusals[0] if live.refusals else None,
            surroundings=self._surroundings.diagnose(owner, live),
            autoscaler=self._surroundings.autoscaler(live),
            accelerated=self._accelerated(wanted, decided, live),
        )

    @staticmethod
    def _accelerated(wanted: ServedModel | Problem, decided: Plan, live: Live) -> Verdict | None:
        """Say how the served version's pods were prepared; where there are none, how the wanted one's are to be."""
        served = live.deployments.get(decided.stable)
        if served is None and isinstance(wanted, Problem) and wanted.reason == Reason.PREPARING:
            return accelerated((wanted.reason, wanted.message))
        return accelerated(note_of(served)) if served else None

    def _write_status(self, owner: ModelDeployment, seen: Observation) -> None:
        after = status(owner, seen, self._clock())
        try:
            written = ensure_status(self._client, owner, after, owner.status)
        except NotFound:
            return
        if written:
            ready = after.conditions[0]
            log.info("modeldeployment %s/%s: %s: %s", *_names(owner), ready.reason, ready.message)


def _again(decided: Plan, result: Observation) -> float:
    """Return when to look again although nothing is seen to change."""
    unsettled = any(not each.settled for name, each in result.revisions.items() if name in decided.pods)
    due = decided.again_after if decided.again_after is not None else RESYNC_SECONDS
    # Nothing tells when what was refused would be taken, or when a class or a Gateway comes to be.
    return min(due, PATIENCE_SECONDS) if unsettled or result.refused or result.surroundings else due


def _revision(wanted: ServedModel | Problem) -> str:
    """Return the revision that is wanted; that of no pod where no version can be named."""
    return NOTHING if isinstance(wanted, Problem) else wanted.revision


def _names(owner: ModelDeployment) -> tuple[str, str]:
    return owner.metadata.namespace, owner.metadata.name


def _serving(model: RegisteredModel, revision: str) -> dict[str, ServedModel]:
    candidates = (served_model(model, version) for version in model.status.versions)
    return {found.revision: found for found in candidates if found.revision == revision}
