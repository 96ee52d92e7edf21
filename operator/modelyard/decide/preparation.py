"""Preparing a version for serving: what is asked for, what came of it, and how long its first pods wait for it.

A Job makes the version's ONNX form and, where it asks for other libraries than the serving image's, its environment;
`preparation.json`, which it uploads last, says what it found. Nothing of that is believed before it was checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from modelyard.api.common import ConditionStatus
from modelyard.api.model_status import PreparationOutcome, PreparationStatus, VersionStatus
from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import PREPARATION_ANNOTATION, REFRESH_ANNOTATION
from modelyard.api.reasons import ConditionType, Reason
from modelyard.api.runtime import EnvironmentMode, RuntimeMode
from modelyard.api.serving import Prepared, PreparedObject, ServedModel
from modelyard.decide.conditions import Verdict
from modelyard.decide.jobs import failure_of, short
from modelyard.decide.modeldeployment import SUPPORTED_FLAVORS, Problem

Json = dict[str, Any]

EVIDENCE = "preparation.json"
MODEL = "model.onnx"
ENVIRONMENT = "environment.tar.gz"

EVIDENCE_LIMIT = 4 << 20
"""The largest evidence that is read, in bytes."""

SCHEMA_VERSION = 1
_MESSAGE_LIMIT = 512
_DIFFERENCES_SHOWN = 5


class EvidenceInvalid(Exception):
    """What was uploaded cannot be used; the message says why."""


@dataclass(frozen=True)
class Ask:
    """One preparation of a version. `key` names it, the Job and the directory in the artifact store."""

    namespace: str
    model: str
    """The name of the RegisteredModel's object."""
    version: int
    digest: str
    image: str
    attempt: str = ""

    @property
    def key(self) -> str:
        """12 hex digits. Models do not share what was made of equal files: each namespace trusts its own pods only."""
        said = [self.namespace, self.model, self.digest, self.image, self.attempt]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]

    @property
    def job(self) -> str:
        """The name of the Job."""
        return f"prepare-{self.key}"

    @property
    def directory(self) -> str:
        """Below this key of the artifact store everything is."""
        return f"prepared/{self.digest.removeprefix('sha256:')}/{self.key}"


def ask_for(deployment: ModelDeployment, model: str, version: VersionStatus, image: str) -> Ask | None:
    """Return the preparation that is to be made; None where what is known of the version stands, or none is wanted.

    What failed is tried again when the annotation modelyard.dev/refresh has another value than it had then.
    """
    if not wants(deployment) or not version.artifact or not set(SUPPORTED_FLAVORS) & set(version.flavors):
        return None
    known, attempt = version.preparation, ""
    if known is not None and known.image == image:
        attempt = deployment.metadata.annotations.get(REFRESH_ANNOTATION, "")[:64]
        if known.outcome not in _FAILURES or known.attempt == attempt or not attempt:
            return None
    return Ask(deployment.metadata.namespace, model, version.version, version.digest, image, attempt)


def wants(deployment: ModelDeployment) -> bool:
    """Whether the pods of this deployment would use anything of a preparation."""
    rest = deployment.spec.rest
    return rest.runtime != RuntimeMode.NATIVE or rest.environment != EnvironmentMode.IMAGE


_FAILURES = (PreparationOutcome.ENVIRONMENT_FAILED, PreparationOutcome.PREPARATION_FAILED)


# What the Job says


class _Uploaded(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", strict=True)


class _Object(_Uploaded):
    sha256: str = Field(pattern=r"^(sha256:)?[0-9a-f]{64}$")
    bytes: int = Field(ge=0)

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256.removeprefix('sha256:')}"


class _Environment(_Uploaded):
    needed: bool
    differences: list[str] = Field(default_factory=list)
    archive: _Object | None = None
    error: str | None = None


class _Acceleration(_Uploaded):
    outcome: str
    message: str = ""
    model: _Object | None = None


class Evidence(_Uploaded):
    """`preparation.json`: format of `modelyard_serving.preparation`."""

    schema_version: int
    digest: str
    environment: _Environment
    acceleration: _Acceleration

    @property
    def objects(self) -> dict[str, _Object]:
        """What is to be found beside the evidence, by name."""
        named = {MODEL: self.acceleration.model, ENVIRONMENT: self.environment.archive}
        return {name: found for name, found in named.items() if found is not None}


_OUTCOMES = {
    "Verified": PreparationOutcome.VERIFIED,
    "AnswersDiffer": PreparationOutcome.ANSWERS_DIFFER,
    "NotConvertible": PreparationOutcome.NOT_CONVERTIBLE,
    "Failed": PreparationOutcome.PREPARATION_FAILED,
}


def read_evidence(data: bytes, digest: str) -> Evidence:
    """Read what a Job has uploaded for the model with this digest. Raises `EvidenceInvalid`."""
    if len(data) > EVIDENCE_LIMIT:
        raise EvidenceInvalid(f"{EVIDENCE} is larger than {EVIDENCE_LIMIT} bytes")
    try:
        found = Evidence.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise EvidenceInvalid(f"{EVIDENCE} cannot be read: {where or 'the whole'}: {first['msg']}") from error
    if found.schema_version != SCHEMA_VERSION:
        raise EvidenceInvalid(f"{EVIDENCE} has schema version {found.schema_version}, not {SCHEMA_VERSION}")
    if found.digest != digest:
        raise EvidenceInvalid(f"{EVIDENCE} is of a model with digest {found.digest}, not {digest}")
    if found.acceleration.outcome not in _OUTCOMES:
        raise EvidenceInvalid(f"{EVIDENCE} has the outcome {found.acceleration.outcome!r}, which does not exist")
    if found.acceleration.outcome == "Verified" and found.acceleration.model is None:
        raise EvidenceInvalid(f"{EVIDENCE} calls a model verified that it does not name")
    return found


def settled(
    ask: Ask, evidence: Evidence, digest: str, hashes: Mapping[str, tuple[str, int] | None]
) -> PreparationStatus:
    """Return what is recorded of a version. `digest` is the evidence's own, `hashes` what was read of the objects.

    Raises `EvidenceInvalid` where an object is not there, or is not the one that the evidence names.
    """
    for name, named in evidence.objects.items():
        found = hashes.get(name)
        if found is None:
            raise EvidenceInvalid(f"{EVIDENCE} names {name}, which was not uploaded")
        if found != (named.digest, named.bytes):
            raise EvidenceInvalid(
                f"{name} is {found[0]}, {found[1]} bytes; {EVIDENCE} says {named.digest}, {named.bytes}"
            )
    environment, acceleration = evidence.environment, evidence.acceleration
    outcome, message = _OUTCOMES[acceleration.outcome], acceleration.message
    if environment.needed and environment.archive is None:
        outcome, message = PreparationOutcome.ENVIRONMENT_FAILED, _environment_message(environment)
    verified = outcome == PreparationOutcome.VERIFIED and acceleration.model is not None
    return PreparationStatus(
        outcome=outcome,
        message=short(message, _MESSAGE_LIMIT),
        image=ask.image,
        directory=ask.directory,
        evidence=digest,
        model=acceleration.model.digest if verified and acceleration.model else None,
        environment=environment.archive.digest if environment.needed and environment.archive else None,
        attempt=ask.attempt,
    )


def _environment_message(environment: _Environment) -> str:
    shown = "; ".join(environment.differences[:_DIFFERENCES_SHOWN])
    more = len(environment.differences) - _DIFFERENCES_SHOWN
    text = f"{shown}; and {more} more" if more > 0 else shown
    return f"{text}: {environment.error or 'no environment was built'}"


def failed(ask: Ask, message: str) -> PreparationStatus:
    """Return what is recorded of a version whose Job left nothing that can be used."""
    return PreparationStatus(
        outcome=PreparationOutcome.PREPARATION_FAILED,
        message=short(message, _MESSAGE_LIMIT),
        image=ask.image,
        directory=ask.directory,
        attempt=ask.attempt,
    )


def job_failure(job: Json, pods: Sequence[Json]) -> str:
    """Say why a Job has failed."""
    failure = failure_of(job, pods)
    if failure.reason == "DeadlineExceeded":
        return f"Job {job['metadata']['name']} did not end within {job['spec']['activeDeadlineSeconds']} s"
    return short(f"Job {job['metadata']['name']}: {failure.reason}: {failure.message}", _MESSAGE_LIMIT)


# What pods are made with


@dataclass(frozen=True)
class Standing:
    """How a preparation stands: what came of it, or since when its Job has been at work, or why there is none."""

    settled: PreparationStatus | None = None
    since: datetime | None = None
    message: str = ""


def prepared(deployment: ModelDeployment, standing: Standing, uri: str) -> Prepared:
    """Return what pods are made with. `uri` is that of the artifact store's root, without a slash at its end."""
    found = standing.settled
    if found is None:
        reason = Reason.PREPARING if standing.since else Reason.PREPARATION_FAILED
        return Prepared(note=_note(deployment, reason, standing.message))
    below = f"{uri}/{found.directory}"
    return Prepared(
        accelerated=PreparedObject(f"{below}/{MODEL}", found.model) if found.model else None,
        environment=PreparedObject(f"{below}/{ENVIRONMENT}", found.environment) if found.environment else None,
        note=_note(deployment, Reason(found.outcome), found.message),
    )


def _note(deployment: ModelDeployment, reason: Reason, message: str) -> tuple[str, str]:
    if deployment.spec.rest.runtime == RuntimeMode.NATIVE:
        return Reason.DISABLED, "spec.rest.runtime is Native"
    return reason, message


def refusal(deployment: ModelDeployment, wanted: ServedModel, known: PreparationStatus | None) -> Problem | None:
    """Return why a version cannot be served, where it needs libraries that could not be had."""
    if known is None or known.outcome != PreparationOutcome.ENVIRONMENT_FAILED:
        return None
    if deployment.spec.rest.environment == EnvironmentMode.IMAGE:
        return None
    return Problem(Reason.ENVIRONMENT_FAILED, f"version {wanted.version} of {wanted.name}: {known.message}")


def must_wait(
    deployment: ModelDeployment, wanted: ServedModel, standing: Standing, now: datetime, seconds: float
) -> Problem | None:
    """Return what is said while a version's first pods wait for its Job; None where they wait no longer.

    A version that was served a moment ago, or before the one that is served now, does not wait at all: whoever goes
    back is in a hurry.
    """
    served = deployment.status.served
    back = served is not None and served.model == wanted.name and wanted.version <= served.version
    if standing.settled or standing.since is None or back or now - standing.since >= timedelta(seconds=seconds):
        return None
    return Problem(Reason.PREPARING, f"version {wanted.version} is prepared: {standing.message}")


# What is said of it


def kept_note(live: tuple[str, str] | None, fresh: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return what is noted of pods that stay: `live` is from when they were made, `fresh` what is known now."""
    if live is None or fresh is None or live[0] != Reason.PREPARING:
        return live
    if fresh[0] == Reason.VERIFIED:
        return Reason.PREPARED_LATER, "the pods were made before it was verified"
    return live if fresh[0] == Reason.PREPARING else fresh


def note_of(deployment: Json) -> tuple[str, str] | None:
    """Return what a live Deployment says of its preparation; None where it says nothing that can be read."""
    try:
        found = json.loads(deployment["metadata"].get("annotations", {}).get(PREPARATION_ANNOTATION, ""))
        return Reason(found["reason"]), str(found["message"])
    except (ValueError, KeyError, TypeError):
        return None


def accelerated(note: tuple[str, str] | None) -> Verdict | None:
    """Return the condition `Accelerated` of pods with this note; None where nothing is known of them."""
    if note is None:
        return None
    by_reason = {Reason.VERIFIED: ConditionStatus.TRUE, Reason.PREPARING: ConditionStatus.UNKNOWN}
    reason = Reason(note[0])
    status = by_reason.get(reason, ConditionStatus.FALSE)
    return Verdict(ConditionType.ACCELERATED, status, reason, note[1])
