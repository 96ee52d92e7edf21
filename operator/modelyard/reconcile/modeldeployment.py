"""Brings a ModelDeployment's objects and status to what the registry and its spec ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import DEPLOYMENT_LABEL, REVISION_LABEL
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.serving import ServedModel, pod_labels
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.ensure import ensure, ensure_status
from modelyard.cluster.resources import DEPLOYMENTS, INGRESSES, PODS, SERVICES, of_kind
from modelyard.decide.modeldeployment import (
    NOTHING,
    Plan,
    Problem,
    Rollout,
    plan,
    reported,
    served_model,
    wanted_version,
)
from modelyard.decide.modeldeployment_status import Observation, status
from modelyard.decide.pods import Diagnosis, diagnose
from modelyard.desired import pods, traffic
from modelyard.reconcile.base import Clock, Outcome
from modelyard.reconcile.reader import ensure_reader_secret
from modelyard.records.state import ModelState
from modelyard.settings import Settings

Json = dict[str, Any]
log = logging.getLogger(__name__)

RESYNC_SECONDS = 300.0
"""How often an object is looked at although no event asks for it: Secrets, for one, are not watched."""

_REFUSALS = (400, 403, 422)


class ModelDeploymentReconciler:
    """Reconciles ModelDeployments."""

    def __init__(
        self, client: Client, settings: Settings, clock: Clock, state_of: Callable[[RegisteredModel], ModelState]
    ) -> None:
        """`state_of` returns all versions of a model: a status shows the newest only."""
        self._client = client
        self._state_of = state_of
        self._settings = settings
        self._clock = clock

    def __call__(self, namespace: str, name: str) -> Outcome:
        """Reconcile one object."""
        body = self._client.find(of_kind(ModelDeployment), namespace, name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return Outcome()
        owner = ModelDeployment.parse(body)
        model = self._model(owner)
        wanted = wanted_version(owner, model)
        live = self._deployments(owner)
        rollouts = {revision: Rollout.of(deployment) for revision, deployment in live.items()}
        service = self._client.find(SERVICES, namespace, name)
        selected = ((service or {}).get("spec", {}).get("selector") or {}).get(REVISION_LABEL, NOTHING)
        now = self._clock()
        decided = plan(wanted, rollouts, selected, reported(owner), now)
        refused = self._carry_out(owner, self._models(wanted, model, decided), decided, live, service)
        rollouts = {revision: Rollout.of(deployment) for revision, deployment in live.items()}
        seen = Observation(wanted, decided, rollouts, self._diagnosis(owner, wanted, live, rollouts), refused)
        self._write_status(owner, seen)
        return Outcome(decided.again_after if decided.again_after is not None else RESYNC_SECONDS)

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
        self, wanted: ServedModel | Problem, model: RegisteredModel | None, decided: Plan
    ) -> dict[str, ServedModel]:
        """Return what is known of the revisions whose Deployments are kept up: the wanted one and the served one."""
        models = {} if isinstance(wanted, Problem) else {wanted.revision: wanted}
        if model is not None and decided.serve not in (NOTHING, *models):
            models.update(_serving(model, decided.serve) or _serving(self._whole(model), decided.serve))
        return models

    def _carry_out(
        self,
        owner: ModelDeployment,
        models: Mapping[str, ServedModel],
        decided: Plan,
        live: dict[str, Json],
        service: Json | None,
    ) -> str | None:
        """Make the objects; `live` is brought up to date. Return the API server's words if it refused any."""
        refusals = []
        steps: list[tuple[Json, Json | None]] = [
            (self._deployment(owner, model), live.get(revision))
            for revision, model in models.items()
            if revision in decided.keep
        ]
        steps.append((traffic.service(owner, decided.serve, split=False), service))
        ingress = self._client.find(INGRESSES, owner.metadata.namespace, owner.metadata.name)
        if owner.spec.rest.ingress:
            steps.append((traffic.ingress(owner, owner.spec.rest.ingress), ingress))
        elif ingress and _owned(ingress, owner):
            self._client.delete(INGRESSES, owner.metadata.namespace, owner.metadata.name)
        if models:
            ensure_reader_secret(self._client, self._settings, owner.metadata.namespace)
        for manifest, present in steps:
            try:
                if present is not None and not _owned(present, owner):
                    refusals.append(_taken(manifest))
                    continue
                body = ensure(self._client, manifest, present)
            except ApiError as error:
                if error.code not in _REFUSALS:
                    raise
                refusals.append(f"{manifest['kind']} {manifest['metadata']['name']}: {error}")
                continue
            if manifest["kind"] == DEPLOYMENTS.kind:
                live[manifest["metadata"]["labels"][REVISION_LABEL]] = body
        for revision in decided.remove:
            body = live.pop(revision)
            log.info("removing deployment %s/%s", owner.metadata.namespace, body["metadata"]["name"])
            self._client.delete(
                DEPLOYMENTS, owner.metadata.namespace, body["metadata"]["name"], uid=body["metadata"]["uid"]
            )
        return "; ".join(refusals) or None

    def _deployment(self, owner: ModelDeployment, model: ServedModel) -> Json:
        template = pods.template(owner, model, self._settings.serving_image, self._settings.image_pull_policy)
        return pods.deployment(owner, model, template, pods.template_inputs(owner, model), owner.spec.rest.replicas)

    def _diagnosis(
        self,
        owner: ModelDeployment,
        wanted: ServedModel | Problem,
        live: Mapping[str, Json],
        rollouts: Mapping[str, Rollout],
    ) -> Diagnosis | None:
        """Look at the pods of the wanted version, where they are not all ready."""
        if isinstance(wanted, Problem):
            return None
        rollout = rollouts.get(wanted.revision)
        if rollout is None or rollout.settled:
            return None
        labels = ",".join(f"{k}={v}" for k, v in pod_labels(owner.metadata.name, wanted.revision).items())
        return diagnose(live[wanted.revision], self._client.list_all(PODS, owner.metadata.namespace, labels))

    def _write_status(self, owner: ModelDeployment, seen: Observation) -> None:
        after = status(owner, seen, self._clock())
        try:
            written = ensure_status(self._client, owner, after, owner.status)
        except NotFound:
            return
        if written:
            ready = after.conditions[0]
            log.info(
                "modeldeployment %s/%s: %s: %s",
                owner.metadata.namespace,
                owner.metadata.name,
                ready.reason,
                ready.message,
            )


def _owned(body: Json, owner: ModelDeployment) -> bool:
    return any(reference.get("uid") == owner.metadata.uid for reference in body["metadata"].get("ownerReferences", []))


def _taken(manifest: Json) -> str:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    return f"{kind} {name} exists and belongs to somebody else: rename the ModelDeployment or remove the {kind}"


def _serving(model: RegisteredModel, revision: str) -> dict[str, ServedModel]:
    candidates = (served_model(model, version) for version in model.status.versions)
    return {found.revision: found for found in candidates if found.revision == revision}
