"""A ModelDeployment: which version should be served, which one is, and how to get from one to the other.

A promotion is a second Deployment beside the first. The Service is switched when every pod of it is ready, and the
first is kept until requests that reached it have been answered. A version that never gets ready never gets a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.api.model_status import VersionStatus
from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import MODEL_DIGEST_ANNOTATION, MODEL_NAME_ANNOTATION, MODEL_VERSION_LABEL, REVISION_LABEL
from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.serving import DRAIN_SECONDS, ServedModel

Json = dict[str, Any]

SUPPORTED_FLAVORS = ("sklearn",)
"""Flavors that the serving image loads."""

DRAIN = timedelta(seconds=DRAIN_SECONDS)
"""How long a version is kept after the Service has left it."""

NOTHING = "none"
"""The revision that a Service selects while nothing is served: no pod has it."""


@dataclass(frozen=True)
class Problem:
    """Why no version can be named that should be served."""

    reason: Reason
    message: str


def wanted_version(deployment: ModelDeployment, model: RegisteredModel | None) -> ServedModel | Problem:
    """Return the version that `spec.model` stands for at this moment."""
    reference = deployment.spec.model
    if model is None:
        where = f"namespace {deployment.metadata.namespace}"
        return Problem(
            Reason.MODEL_NOT_FOUND, f"spec.model.name: there is no RegisteredModel {reference.name} in {where}"
        )
    if reference.version is not None:
        number = reference.version
    else:
        assert reference.stage is not None
        holder = model.status.stages.get(reference.stage.lower())
        if holder is None:
            fix = f"set spec.stages.{reference.stage.lower()} of registeredmodel/{model.metadata.name}"
            return Problem(
                Reason.NO_VERSION_IN_STAGE, f"no version of {model.model_name} is in {reference.stage}: {fix}"
            )
        number = holder.version
    version = model.status.find(number)
    if version is None:
        known = ", ".join(str(v.version) for v in model.status.versions[-10:]) or "none yet"
        return Problem(
            Reason.VERSION_NOT_FOUND, f"{model.model_name} has no version {number}; its newest versions: {known}"
        )
    if not set(SUPPORTED_FLAVORS) & set(version.flavors):
        return Problem(Reason.UNSUPPORTED_FLAVOR, _flavor_message(model.model_name, version))
    return served_model(model, version)


def served_model(model: RegisteredModel, version: VersionStatus) -> ServedModel:
    """Return a registered version as something to serve."""
    return ServedModel(model.model_name, version.version, version.artifact, version.digest)


def _flavor_message(name: str, version: VersionStatus) -> str:
    has = ", ".join(version.flavors) or "none"
    return (
        f"version {version.version} of {name} has flavors {has}; the serving image loads {', '.join(SUPPORTED_FLAVORS)}"
    )


@dataclass(frozen=True)
class Rollout:
    """One Deployment in the cluster, as far as the decision needs it."""

    name: str
    revision: str
    model: str
    version: int
    digest: str
    desired: int
    ready: int
    settled: bool
    """Whether its controller has seen its newest spec, and all its pods are of that spec and available."""

    @classmethod
    def of(cls, body: Json) -> Rollout:
        """Read a Deployment that `desired.serving` made."""
        metadata, spec, status = body["metadata"], body["spec"], body.get("status", {})
        desired = spec.get("replicas", 1)
        settled = (
            status.get("observedGeneration", 0) >= metadata.get("generation", 0)
            and status.get("updatedReplicas", 0) == desired
            and status.get("replicas", 0) == desired
            and status.get("availableReplicas", 0) == desired
        )
        return cls(
            name=metadata["name"],
            revision=metadata["labels"][REVISION_LABEL],
            model=metadata["annotations"][MODEL_NAME_ANNOTATION],
            version=int(metadata["labels"][MODEL_VERSION_LABEL]),
            digest=metadata["annotations"][MODEL_DIGEST_ANNOTATION],
            desired=desired,
            ready=status.get("readyReplicas", 0),
            settled=settled,
        )


@dataclass(frozen=True)
class Plan:
    """What to bring about, from what is seen now. The revisions name Deployments."""

    serve: str
    """The revision that the Service selects; `NOTHING` where none is ready."""

    keep: frozenset[str]
    """Revisions whose Deployments stay."""

    remove: frozenset[str]
    """Revisions whose Deployments go."""

    draining: Mapping[str, datetime] = field(default_factory=dict)
    """Revisions that get no new requests, and since when."""

    again_after: float | None = None
    """Seconds until something is due although nothing changes."""


@dataclass(frozen=True)
class Reported:
    """What the status says of earlier reconciles: which revision was served, and since when others drain."""

    served: str | None
    draining: Mapping[str, datetime]


def reported(deployment: ModelDeployment) -> Reported:
    """Read the status."""
    served = deployment.status.served
    return Reported(
        served=ServedModel(served.model, served.version, "", served.digest).revision if served else None,
        draining={version.revision: parse_time(version.since) for version in deployment.status.draining},
    )


def plan(
    wanted: ServedModel | Problem, rollouts: Mapping[str, Rollout], selected: str, before: Reported, now: datetime
) -> Plan:
    """Decide what is served and what goes.

    `rollouts` are the Deployments by revision, `selected` is the revision that the live Service selects. The live
    Service is the truth about what is served; the status only says when that began, so a status that was never written
    costs nothing but a longer drain.
    """
    serving = selected if selected in rollouts else NOTHING
    if isinstance(wanted, Problem):
        # What is served stays served, whatever has become of the registry.
        target = serving
    else:
        candidate = rollouts.get(wanted.revision)
        target = wanted.revision
        if candidate is not None and candidate.settled:
            serving = wanted.revision
    since = {
        revision: before.draining.get(revision, now)
        for revision in rollouts
        if revision not in (serving, target) and (revision in before.draining or revision in (selected, before.served))
    }
    over = {revision for revision, start in since.items() if now - start >= DRAIN}
    active = {revision: start for revision, start in since.items() if revision not in over}
    keep = frozenset({serving, target, *active} & {*rollouts, target} - {NOTHING})
    again = min((DRAIN - (now - start)).total_seconds() for start in active.values()) if active else None
    return Plan(serving, keep, frozenset(rollouts) - keep, active, again)


def parse_time(text: str) -> datetime:
    """Return the moment that an RFC 3339 text of Kubernetes names."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
