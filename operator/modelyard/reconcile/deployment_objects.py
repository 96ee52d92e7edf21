"""Makes and removes the objects of a ModelDeployment, in the order in which no request finds a door without a room."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import REVISION_LABEL
from modelyard.api.reasons import Reason
from modelyard.api.rollout import TrafficMethod
from modelyard.api.serving import Prepared, PreparedObject, ServedModel
from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.ensure import ensure
from modelyard.cluster.resources import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESSES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    SERVICES,
    ResourceType,
)
from modelyard.decide.diagnosis import diagnose_refusal
from modelyard.decide.modeldeployment import Revision
from modelyard.decide.pods import Diagnosis
from modelyard.decide.preparation import kept_note, note_of
from modelyard.decide.rollout import Plan
from modelyard.desired import network, pods, scaling, traffic
from modelyard.settings import Settings

Json = dict[str, Any]
log = logging.getLogger(__name__)

_REFUSALS = (400, 403, 422)
_NOT_FOUND = 404
_WEBHOOK = re.compile(r"fail(ed|ing)? (calling|to call) webhook")
"""An admission webhook that does not answer is a 500, as every fault of the API server's own."""


@dataclass
class Live:
    """The objects as they were read; brought up to date by what is written."""

    deployments: dict[str, Json]
    """By revision."""

    service: Json | None
    refusals: list[Diagnosis] = field(default_factory=list)
    """What the API server refused."""

    ingress: Json | None = None
    route: Json | None = None
    autoscaler: Json | None = None


class DeploymentObjects:
    """Writes what a plan asks for."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    def carry_out(self, owner: ModelDeployment, models: Mapping[str, ServedModel], plan: Plan, live: Live) -> None:
        """Bring the objects to what `plan` asks for; `models` is what the registry knows of its revisions.

        First what requests will reach, then the way to it, last what they no longer reach. An object that the API
        server refuses holds up what follows it, so that nothing is taken away for something that is not there.
        """
        # What is served stays up to date also when its model is gone.
        models = {**{revision: _made_for(body) for revision, body in live.deployments.items()}, **models}
        grow = [each for revision, each in models.items() if self._grows(revision, plan, live)]
        shrink = [each for revision, each in models.items() if not self._grows(revision, plan, live)]
        settled = not plan.weight and plan.stable in live.deployments
        if settled:
            # Nothing has to come up first; where a version is taken back, nothing may come before it.
            self._traffic(owner, plan, live)
        self._deployments(owner, grow, plan, live)
        if live.refusals:
            return
        if not settled:
            self._traffic(owner, plan, live)
        self._around(owner, models, plan, live)
        if live.refusals:
            return
        self._deployments(owner, shrink, plan, live)
        self._remove(owner, plan, live)

    def _grows(self, revision: str, plan: Plan, live: Live) -> bool:
        """Whether a Deployment is to be made, or to get more pods, or is what is served."""
        present = live.deployments.get(revision)
        return present is None or plan.pods.get(revision, 0) >= present["spec"].get("replicas", 1)

    # Pods

    def _deployments(self, owner: ModelDeployment, models: Iterable[ServedModel], plan: Plan, live: Live) -> None:
        for model in models:
            if model.revision not in plan.pods:
                continue
            present = live.deployments.get(model.revision)
            manifest = self._deployment(owner, model, plan.pods[model.revision], present)
            scaled = owner.spec.rest.autoscaling is not None
            body = self._ensure(owner, manifest, present, live, unchanged=scaled)
            if body is not None:
                live.deployments[body["metadata"]["labels"][REVISION_LABEL]] = body

    def _deployment(self, owner: ModelDeployment, model: ServedModel, replicas: int, present: Json | None) -> Json:
        inputs = pods.template_inputs(owner, model)
        template = pods.kept_template(present, inputs) if present else None
        note = model.prepared.note
        if template is None:
            said = self._settings
            template = pods.template(owner, model, said.serving_image, said.image_pull_policy, said.node_cache)
        elif present:
            note = kept_note(note_of(present), note)
        return pods.deployment(owner, model, template, inputs, replicas, note=note)

    # The way to the pods

    def _traffic(self, owner: ModelDeployment, plan: Plan, live: Live) -> None:
        """What names the candidate's Service comes after it, and is gone before that selects another version."""
        method = plan.rollout.traffic if plan.rollout else TrafficMethod.SWITCH
        if plan.weight:
            self._preview(owner, plan, method, live)
            if live.refusals:
                return
        service = traffic.service(owner, plan.stable, plan.split)
        live.service = self._ensure(owner, service, live.service, live) or live.service
        self._routes(owner, plan, method, live)
        if not plan.weight and not live.refusals:
            self._preview(owner, plan, method, live)

    def _preview(self, owner: ModelDeployment, plan: Plan, method: TrafficMethod, live: Live) -> None:
        """The Service of the candidate alone; where the last one drains, a proxy may still know the way to it."""
        if plan.candidate is None or method == TrafficMethod.POD_COUNTS:
            return
        present = self._client.find(SERVICES, owner.metadata.namespace, traffic.candidate_name(owner))
        selected = (present or {}).get("spec", {}).get("selector", {}).get(REVISION_LABEL)
        if selected not in plan.draining:
            self._ensure(owner, traffic.candidate_service(owner, plan.candidate), present, live)

    def _routes(self, owner: ModelDeployment, plan: Plan, method: TrafficMethod, live: Live) -> None:
        rest = owner.spec.rest
        if rest.ingress:
            manifest = traffic.ingress(owner, rest.ingress)
            live.ingress = self._wanted(owner, manifest, INGRESSES, owner.metadata.name, live)
        if rest.gateway:
            manifest = traffic.http_route(owner, rest.gateway, self._share(owner, plan, method))
            live.route = self._wanted(owner, manifest, HTTP_ROUTES, owner.metadata.name, live)
        if rest.ingress and plan.weight and method == TrafficMethod.INGRESS_CANARY:
            manifest = traffic.candidate_ingress(owner, rest.ingress, plan.weight)
            self._wanted(owner, manifest, INGRESSES, traffic.candidate_name(owner), live)
        else:
            self._drop(owner, INGRESSES, traffic.candidate_name(owner))

    def _share(self, owner: ModelDeployment, plan: Plan, method: TrafficMethod) -> int | None:
        """Return the candidate's percentage in the HTTPRoute, which names it for as long as it has a Service."""
        if plan.weight and method == TrafficMethod.HTTP_ROUTE:
            return plan.weight
        if plan.candidate is None and not plan.draining:
            return None
        service = self._client.find(SERVICES, owner.metadata.namespace, traffic.candidate_name(owner))
        return 0 if service is not None and owned(service, owner) else None

    def _around(self, owner: ModelDeployment, models: Mapping[str, ServedModel], plan: Plan, live: Live) -> None:
        """The autoscaler, the disruption budget and the network policy, all of the served version."""
        rest, name = owner.spec.rest, owner.metadata.name
        served = models.get(plan.stable)
        if rest.autoscaling and served:
            manifest = scaling.autoscaler(owner, rest.autoscaling, pods.deployment_name(owner, served))
            live.autoscaler = self._wanted(owner, manifest, HORIZONTAL_POD_AUTOSCALERS, name, live)
        budget = scaling.disruption_budget(owner, plan.stable)
        if budget:
            self._wanted(owner, budget, POD_DISRUPTION_BUDGETS, name, live)
        if rest.network_policy:
            policy = network.network_policy(owner, rest.network_policy, self._settings.operator_namespace)
            self._wanted(owner, policy, NETWORK_POLICIES, name, live)

    # What is not wanted any more

    def _remove(self, owner: ModelDeployment, plan: Plan, live: Live) -> None:
        rest, name = owner.spec.rest, owner.metadata.name
        for resource, wanted in (
            (INGRESSES, rest.ingress is not None),
            (HTTP_ROUTES, rest.gateway is not None),
            (HORIZONTAL_POD_AUTOSCALERS, rest.autoscaling is not None),
            (POD_DISRUPTION_BUDGETS, scaling.disruption_budget(owner, plan.stable) is not None),
            (NETWORK_POLICIES, rest.network_policy is not None),
        ):
            if not wanted:
                self._drop(owner, resource, name)
        if plan.candidate is None and not plan.draining:
            # While a version drains, a proxy may still know the way to it.
            self._drop(owner, SERVICES, traffic.candidate_name(owner))
        for revision in plan.remove:
            body = live.deployments.pop(revision)
            log.info("removing deployment %s/%s", owner.metadata.namespace, body["metadata"]["name"])
            self._client.delete(
                DEPLOYMENTS, owner.metadata.namespace, body["metadata"]["name"], uid=body["metadata"]["uid"]
            )

    def _drop(self, owner: ModelDeployment, resource: ResourceType, name: str) -> None:
        present = self._client.find(resource, owner.metadata.namespace, name)
        if present is not None and owned(present, owner):
            self._client.delete(resource, owner.metadata.namespace, name, uid=present["metadata"]["uid"])

    # One object

    def _wanted(
        self, owner: ModelDeployment, manifest: Json, resource: ResourceType, name: str, live: Live
    ) -> Json | None:
        present = self._client.find(resource, owner.metadata.namespace, name)
        return self._ensure(owner, manifest, present, live)

    def _ensure(
        self, owner: ModelDeployment, manifest: Json, present: Json | None, live: Live, *, unchanged: bool = False
    ) -> Json | None:
        """Write the object; a refusal that trying again cannot mend is noted in `live`."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if present is not None and not owned(present, owner):
            text = f"{kind} {name} exists and belongs to somebody else: rename the ModelDeployment or remove the {kind}"
            live.refusals.append(Diagnosis(Reason.NAME_TAKEN, text, permanent=False))
            return None
        try:
            return ensure(self._client, manifest, present, unchanged=unchanged)
        except ApiError as error:
            if not _is_refusal(error, kind):
                raise
            live.refusals.append(diagnose_refusal(kind, name, str(error)))
            return None


def _is_refusal(error: ApiError, kind: str) -> bool:
    """Whether the object, or what judges it, has to change first; anything else is tried again."""
    missing = error.code == _NOT_FOUND and kind == HTTP_ROUTES.kind
    return error.code in _REFUSALS or missing or _WEBHOOK.search(str(error)) is not None


def owned(body: Json, owner: ModelDeployment) -> bool:
    """Whether the object was made for this very ModelDeployment."""
    return any(reference.get("uid") == owner.metadata.uid for reference in body["metadata"].get("ownerReferences", []))


def _made_for(body: Json) -> ServedModel:
    """Return the version that a live Deployment serves, as it was made for it."""
    found = Revision.of(body)
    said = {
        each["name"]: each.get("value", "")
        for container in body["spec"]["template"]["spec"]["containers"]
        for each in container.get("env", [])
    }
    prepared = Prepared(
        _object(said, pods.ACCELERATED_SOURCE, pods.ACCELERATED_DIGEST),
        _object(said, pods.ENVIRONMENT_SOURCE, pods.ENVIRONMENT_DIGEST),
        note_of(body),
    )
    return ServedModel(found.model, found.version, said.get("MODELYARD_MODEL_SOURCE", ""), found.digest, prepared)


def _object(said: Mapping[str, str], source: str, digest: str) -> PreparedObject | None:
    return PreparedObject(said[source], said[digest]) if said.get(source) and said.get(digest) else None
