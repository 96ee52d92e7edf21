"""One look at a deployment: its object, its versions' Deployments, its pods, and what these have answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import DEPLOYMENT_LABEL, REVISION_LABEL
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cli.deployments import Deployments
from modelyard.cli.traffic import Traffic, ask, by_revision
from modelyard.cluster.client import ApiError, Json
from modelyard.cluster.resources import DEPLOYMENTS, PODS, ResourceType
from modelyard.decide.pod_metrics import PodMetrics
from modelyard.registry.objects import REGISTERED_MODELS

_FORBIDDEN = (401, 403)


@dataclass(frozen=True)
class Pods:
    """How many pods of a revision are ready, and how many there are to be."""

    ready: int
    wanted: int


@dataclass(frozen=True)
class Look:
    """What was seen at a moment. `notes` say what could not be seen, and why."""

    deployment: ModelDeployment
    at: datetime
    pods: Mapping[str, Pods]
    """By revision."""

    counted: Mapping[str, PodMetrics]
    """By revision: since the pods' processes began, or since the look before."""

    seconds: float | None = None
    """How long the look before is ago; None where there is none."""

    target: int | None = None
    """The version that `spec.model` stands for at this moment, as far as it is known."""

    notes: tuple[str, ...] = ()


class Looker:
    """Looks at one deployment again and again."""

    def __init__(self, deployments: Deployments, given: str, *, differences: bool) -> None:
        """With `differences` each look tells what was counted since the one before, else since the pods began."""
        self._deployments = deployments
        self._given = given
        self._differences = differences
        self._before: Traffic | None = None

    def __call__(self) -> Look:
        """Look. Raises `CliError` where there is no such deployment, `ApiError`."""
        deployment = self._deployments.get(self._given)
        notes: list[str] = []
        owned = self._owned(deployment, DEPLOYMENTS, notes)
        pods = self._owned(deployment, PODS, notes)
        traffic, before = ask(self._deployments.client, pods), self._before
        self._before = traffic
        notes += _unheard(traffic, len(pods))
        return Look(
            deployment,
            self._deployments.clock(),
            {body["metadata"]["labels"][REVISION_LABEL]: _pods_of(body) for body in owned},
            self._counted(pods, traffic, before),
            traffic.at - before.at if before and self._differences else None,
            self._target(deployment),
            tuple(notes),
        )

    def _counted(self, pods: list[Json], traffic: Traffic, before: Traffic | None) -> dict[str, PodMetrics]:
        if not self._differences:
            return by_revision(pods, traffic, None)
        # The first of several looks has nothing yet to be compared with.
        return by_revision(pods, traffic, before) if before else {}

    def _owned(self, deployment: ModelDeployment, resource: ResourceType, notes: list[str]) -> list[Json]:
        """Return the objects of a kind that were made for the deployment's versions; none where that is forbidden."""
        labels = f"{DEPLOYMENT_LABEL}={deployment.metadata.name}"
        try:
            found = self._deployments.client.list_all(resource, self._deployments.namespace, labels)
        except ApiError as error:
            if error.code not in _FORBIDDEN:
                raise
            notes.append(f"you may not list {resource.plural}, so not all is shown: {error}")
            return []
        return [body for body in found if REVISION_LABEL in body["metadata"].get("labels", {})]

    def _target(self, deployment: ModelDeployment) -> int | None:
        reference = deployment.spec.model
        if reference.version is not None:
            return reference.version
        name = RegisteredModel.object_name_of(reference.name)
        try:
            body = self._deployments.client.find(REGISTERED_MODELS, self._deployments.namespace, name)
        except ApiError as error:
            if error.code not in _FORBIDDEN:
                raise
            return None
        if body is None:
            return None
        model = RegisteredModel.parse(body)
        if reference.alias is not None:
            return model.aliases.get(reference.alias)
        held = model.status.stages.get(str(reference.stage).lower())
        return held.version if held else None


def _pods_of(body: Json) -> Pods:
    return Pods(int(body.get("status", {}).get("readyReplicas") or 0), int(body.get("spec", {}).get("replicas", 1)))


def _unheard(traffic: Traffic, pods: int) -> list[str]:
    """Say whose requests are not shown, in one line."""
    if traffic.forbidden:
        return [f"requests are not shown: you may not read the pods' metrics: {traffic.forbidden}"]
    if traffic.silent:
        several = f"{len(traffic.silent)} of {pods} pods give" if len(traffic.silent) > 1 else "one pod gives"
        return [f"requests are not complete: {several} no metrics ({', '.join(traffic.silent[:3])})"]
    return []
