"""The status of a ModelDeployment: what is served, what is wanted, and why they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from modelyard.api.common import ConditionStatus
from modelyard.api.modeldeployment import (
    DeployedVersion,
    DrainingVersion,
    ModelDeployment,
    ModelDeploymentStatus,
    Phase,
)
from modelyard.api.reasons import ConditionType, Reason
from modelyard.api.serving import ServedModel, pod_labels
from modelyard.decide.conditions import Verdict, conditions, kstatus, timestamp
from modelyard.decide.modeldeployment import Plan, Problem, Rollout
from modelyard.decide.pods import Diagnosis

_STALLED = {
    Reason.UNSUPPORTED_FLAVOR,
    Reason.VERSION_NOT_FOUND,
    Reason.CANDIDATE_FAILED,
    Reason.CANDIDATE_NOT_READY,
    Reason.IMAGE_UNAVAILABLE,
    Reason.POD_REFUSED,
    Reason.UNSCHEDULABLE,
    Reason.OBJECT_REFUSED,
}


@dataclass(frozen=True)
class Observation:
    """What was seen after the plan was carried out."""

    wanted: ServedModel | Problem
    plan: Plan
    rollouts: Mapping[str, Rollout]
    diagnosis: Diagnosis | None
    """What is wrong with the pods of the wanted version, or of the served one where that is the same."""

    refused: str | None = None
    """The API server's words, where it refused an object."""


def status(deployment: ModelDeployment, seen: Observation, now: datetime) -> ModelDeploymentStatus:
    """Return the whole status. Equal to the present one where nothing has changed."""
    before = deployment.status
    served = seen.rollouts.get(seen.plan.serve)
    ready = _ready(seen, served, deployment.spec.rest.replicas)
    serving = _serving(served)
    progressing = ready.reason in (Reason.ROLLING_OUT, Reason.TOO_FEW_READY_PODS)
    verdicts = (*kstatus(ready, progressing=progressing, stalled=ready.reason in _STALLED), serving)
    generation = deployment.metadata.generation
    return ModelDeploymentStatus(
        observed_generation=generation,
        phase=_phase(ready, served),
        served=_deployed(served, before.served, now) if served else None,
        candidate=_candidate(seen, before.candidate, now),
        draining=_draining(seen),
        url=url(deployment),
        replicas=served.desired if served else 0,
        ready_replicas=served.ready if served else 0,
        selector=_selector(deployment, seen.plan.serve) if served else None,
        conditions=conditions(before.conditions, verdicts, generation, now),
    )


def url(deployment: ModelDeployment) -> str:
    """Return where requests go: the Ingress' host, or the Service inside the cluster."""
    ingress = deployment.spec.rest.ingress
    if ingress is None:
        return f"http://{deployment.metadata.name}.{deployment.metadata.namespace}.svc/invocations"
    return f"{'https' if ingress.tls else 'http'}://{ingress.host}/invocations"


def _ready(seen: Observation, served: Rollout | None, replicas: int) -> Verdict:
    """Judge whether what is wanted is served, whole."""

    stays = f"; version {served.version} stays served" if served else ""
    if isinstance(seen.wanted, Problem):
        return _not_ready(seen.wanted.reason, seen.wanted.message + stays)
    if seen.refused:
        return _not_ready(Reason.OBJECT_REFUSED, seen.refused + stays)
    if served is not None and served.revision == seen.wanted.revision:
        return _whole(served, seen.diagnosis)
    candidate = seen.rollouts.get(seen.wanted.revision)
    if seen.diagnosis:
        return _not_ready(seen.diagnosis.reason, f"version {seen.wanted.version}: {seen.diagnosis.message}{stays}")
    progress = f"{candidate.ready if candidate else 0} of {replicas} pods are ready"
    return _not_ready(Reason.ROLLING_OUT, f"version {seen.wanted.version} is starting: {progress}{stays}")


def _whole(served: Rollout, diagnosis: Diagnosis | None) -> Verdict:
    """Judge the served version, where it is the wanted one, by its pods."""
    if served.desired == 0:
        text = "spec.rest.replicas is 0"
        return Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.SCALED_TO_ZERO, text)
    if served.settled:
        text = f"version {served.version} answers with {served.ready} of {served.desired} pods"
        return Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.SERVING, text)
    why = f": {diagnosis.message}" if diagnosis else ""
    count = f"{served.ready} of {served.desired} pods of version {served.version} are ready"
    return _not_ready(Reason.TOO_FEW_READY_PODS if served.ready else Reason.NO_READY_PODS, count + why)


def _not_ready(reason: Reason, message: str) -> Verdict:
    return Verdict(ConditionType.READY, ConditionStatus.FALSE, reason, message)


def _serving(served: Rollout | None) -> Verdict:
    if served is None:
        text = "no version has been ready yet"
        return Verdict(ConditionType.SERVING, ConditionStatus.FALSE, Reason.NO_READY_PODS, text)
    if served.ready:
        text = f"version {served.version} answers"
        return Verdict(ConditionType.SERVING, ConditionStatus.TRUE, Reason.SERVING, text)
    reason = Reason.NO_READY_PODS if served.desired else Reason.SCALED_TO_ZERO
    text = f"version {served.version} has no ready pod"
    return Verdict(ConditionType.SERVING, ConditionStatus.FALSE, reason, text)


def _phase(ready: Verdict, served: Rollout | None) -> Phase:
    if ready.status == ConditionStatus.TRUE:
        return Phase.SERVING
    if ready.reason in (Reason.ROLLING_OUT, Reason.TOO_FEW_READY_PODS):
        return Phase.PROGRESSING
    if served is None and ready.reason not in _STALLED:
        return Phase.PENDING
    return Phase.DEGRADED


def _deployed(rollout: Rollout, before: DeployedVersion | None, now: datetime) -> DeployedVersion:
    same = before is not None and (before.model, before.version, before.digest) == (
        rollout.model,
        rollout.version,
        rollout.digest,
    )
    return DeployedVersion(
        model=rollout.model,
        version=rollout.version,
        digest=rollout.digest,
        since=before.since if before and same else timestamp(now),
    )


def _candidate(seen: Observation, before: DeployedVersion | None, now: datetime) -> DeployedVersion | None:
    if isinstance(seen.wanted, Problem) or seen.wanted.revision == seen.plan.serve:
        return None
    candidate = seen.rollouts.get(seen.wanted.revision)
    return _deployed(candidate, before, now) if candidate else None


def _draining(seen: Observation) -> tuple[DrainingVersion, ...]:
    return tuple(
        DrainingVersion(version=seen.rollouts[revision].version, revision=revision, since=timestamp(since))
        for revision, since in sorted(seen.plan.draining.items())
        if revision in seen.rollouts
    )


def _selector(deployment: ModelDeployment, revision: str) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(pod_labels(deployment.metadata.name, revision).items()))
