"""A ModelDeployment: which version should be served, which one is, and what is there of each.

A promotion is a second Deployment beside the first; how traffic gets from one to the other is decided in `rollout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.api.model_status import VersionStatus
from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import (
    MODEL_DIGEST_ANNOTATION,
    MODEL_NAME_ANNOTATION,
    MODEL_VERSION_LABEL,
    REVISION_LABEL,
    STABLE_ANNOTATION,
)
from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.serving import DRAIN_SECONDS, ServedModel

Json = dict[str, Any]

SUPPORTED_FLAVORS = ("sklearn", "xgboost", "lightgbm", "onnx", "python_function")
"""Flavors that the serving image loads; any model with MLflow's `python_function` is loaded by that."""

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
    number = _number(deployment, model)
    if isinstance(number, Problem):
        return number
    version = model.status.find(number)
    if version is None:
        known = ", ".join(str(v.version) for v in model.status.versions[-10:]) or "none yet"
        return Problem(
            Reason.VERSION_NOT_FOUND, f"{model.model_name} has no version {number}; its newest versions: {known}"
        )
    if not set(SUPPORTED_FLAVORS) & set(version.flavors):
        return Problem(Reason.UNSUPPORTED_FLAVOR, _flavor_message(model.model_name, version))
    return served_model(model, version)


def _number(deployment: ModelDeployment, model: RegisteredModel) -> int | Problem:
    """Return the version's number that the stage, the alias or the spec itself names."""
    reference = deployment.spec.model
    if reference.version is not None:
        return reference.version
    if reference.alias is not None:
        aliased = model.aliases.get(reference.alias)
        if aliased is None:
            fix = f"set spec.aliases.{reference.alias} of registeredmodel/{model.metadata.name}"
            return Problem(
                Reason.NO_VERSION_IN_STAGE, f"no version of {model.model_name} has the alias {reference.alias}: {fix}"
            )
        return aliased
    assert reference.stage is not None
    key = reference.stage.lower()
    holder = model.status.stages.get(key)
    if holder is None:
        fix = f"set spec.stages.{key} of registeredmodel/{model.metadata.name}"
        return Problem(Reason.NO_VERSION_IN_STAGE, f"no version of {model.model_name} is in {reference.stage}: {fix}")
    return holder.version


def served_model(model: RegisteredModel, version: VersionStatus) -> ServedModel:
    """Return a registered version as something to serve."""
    return ServedModel(model.model_name, version.version, version.artifact, version.digest)


def _flavor_message(name: str, version: VersionStatus) -> str:
    has = ", ".join(version.flavors) or "none"
    return (
        f"version {version.version} of {name} has flavors {has}; the serving image loads {', '.join(SUPPORTED_FLAVORS)}"
    )


@dataclass(frozen=True)
class Revision:
    """One Deployment in the cluster, as far as decisions need it."""

    name: str
    revision: str
    model: str
    version: int
    digest: str
    desired: int
    total: int
    """How many pods there are, ready or not, of whatever template."""
    ready: int
    settled: bool
    """Whether its controller has seen its newest spec, and all its pods are of that spec and available."""

    @classmethod
    def of(cls, body: Json) -> Revision:
        """Read a Deployment that `desired.pods` made."""
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
            total=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            settled=settled,
        )


@dataclass(frozen=True)
class Traffic:
    """What the live Service says: it is the truth about what is served."""

    stable: str
    """The revision that is served; `NOTHING` where none is."""

    split: bool
    """Whether the Service selects the pods of every revision."""

    @classmethod
    def of(cls, service: Json | None) -> Traffic:
        """Read the Service."""
        if service is None:
            return cls(NOTHING, split=False)
        selected = (service.get("spec", {}).get("selector") or {}).get(REVISION_LABEL)
        annotated = service["metadata"].get("annotations", {}).get(STABLE_ANNOTATION, NOTHING)
        return cls(selected or annotated, split=selected is None)


@dataclass(frozen=True)
class Reported:
    """What the status says of earlier reconciles."""

    served: str | None
    """The revision that was served."""

    draining: Mapping[str, datetime]


def reported(deployment: ModelDeployment) -> Reported:
    """Read the status."""
    served = deployment.status.served
    return Reported(
        served=ServedModel(served.model, served.version, "", served.digest).revision if served else None,
        draining={version.revision: parse_time(version.since) for version in deployment.status.draining},
    )


def parse_time(text: str) -> datetime:
    """Return the moment that an RFC 3339 text of Kubernetes names."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
