"""The status of a ModelDeployment: what is served, what is wanted, and why they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.modeldeployment import (
    DeployedVersion,
    DrainingVersion,
    ModelDeployment,
    ModelDeploymentStatus,
    Phase,
)
from modelyard.api.reasons import ConditionType, Reason
from modelyard.api.rollout import FigureVerdict, RefusedVersion, RolloutPhase, RolloutStatus
from modelyard.api.serving import ServedModel, pod_labels
from modelyard.decide.conditions import Verdict, conditions, kstatus, timestamp
from modelyard.decide.modeldeployment import Problem, Revision
from modelyard.decide.pods import Diagnosis
from modelyard.decide.rollout import Plan, is_paused

_PROGRESSING = (Reason.PREPARING, Reason.ROLLING_OUT, Reason.TOO_FEW_READY_PODS, Reason.ANALYSING)
_HELD = (Reason.AWAITING_PROMOTION, Reason.ANALYSIS_INCONCLUSIVE)
_WAITS = (Reason.MODEL_NOT_FOUND, Reason.NO_VERSION_IN_STAGE)
"""Not there yet: nobody has registered or promoted a version."""


@dataclass(frozen=True)
class Observation:
    """What was seen after the plan was carried out."""

    wanted: ServedModel | Problem
    plan: Plan
    revisions: Mapping[str, Revision]
    fault: Diagnosis | None = None
    """What is wrong with the pods of the wanted version."""

    stable_fault: Diagnosis | None = None
    """What is wrong with the pods of the served one."""

    refused: Diagnosis | None = None
    """The API server's words, where it refused an object."""

    surroundings: Diagnosis | None = None
    """What is wrong with the way to the pods: the Ingress, the route."""

    autoscaler: Verdict | None = None
    """How the autoscaler does; None without one, or before it has said anything."""

    accelerated: Verdict | None = None
    """Whether the served version answers by ONNX Runtime; None where that was never a question."""

    @property
    def served(self) -> Revision | None:
        """The version that requests reach."""
        return self.revisions.get(self.plan.stable)


def status(deployment: ModelDeployment, seen: Observation, now: datetime) -> ModelDeploymentStatus:
    """Return the whole status. Equal to the present one where nothing has changed."""
    before = deployment.status
    served = _served(deployment, seen)
    rollout = _steady(seen.plan.rollout, before.rollout)
    ready = _ready(deployment, seen, served)
    if rollout is not None and rollout == before.rollout:
        ready = _steady_words(ready, before.conditions)
    stalled = _stalled(ready, served)
    verdicts = [*kstatus(ready, progressing=ready.reason in (*_PROGRESSING, *_HELD), stalled=stalled), _serving(served)]
    verdicts += [verdict for verdict in (seen.autoscaler, seen.accelerated) if verdict is not None]
    generation = deployment.metadata.generation
    return ModelDeploymentStatus(
        observed_generation=generation,
        phase=_phase(deployment, ready, served, stalled=stalled),
        served=_deployed(served, before.served, now) if served else None,
        candidate=_candidate(seen, served, before.candidate, now),
        weight=rollout.actual_weight if rollout else None,
        rollout=rollout,
        refused=seen.plan.refused,
        draining=_draining(seen),
        url=url(deployment),
        replicas=served.desired if served else 0,
        ready_replicas=served.ready if served else 0,
        selector=_selector(deployment, seen.plan.stable) if served else None,
        conditions=conditions(before.conditions, verdicts, generation, now),
    )


def url(deployment: ModelDeployment) -> str:
    """Return where requests go: the host of the Ingress or the Gateway, or the Service inside the cluster."""
    ingress, gateway = deployment.spec.rest.ingress, deployment.spec.rest.gateway
    if gateway is not None:
        return f"http://{gateway.hostname}{gateway.path.rstrip('/')}/invocations"
    if ingress is not None:
        return f"{'https' if ingress.tls else 'http'}://{ingress.host}/invocations"
    return f"http://{deployment.metadata.name}.{deployment.metadata.namespace}.svc/invocations"


def _served(deployment: ModelDeployment, seen: Observation) -> Revision | None:
    """Return what is served: a version that has never been ready is not, though the Service waits for it."""
    found, before = seen.served, deployment.status.served
    if found is None or found.ready:
        return found
    same = before is not None and (before.model, before.version, before.digest) == _identity(found)
    return found if same else None


def _identity(revision: Revision) -> tuple[str, int, str]:
    return revision.model, revision.version, revision.digest


def _stalled(ready: Verdict, served: Revision | None) -> bool:
    """Whether it waits for a person: whatever is neither done, nor going on, nor merely not asked for yet.

    Where something is served, a model or a stage that is there no more is not merely not asked for.
    """
    if ready.status == ConditionStatus.TRUE or ready.reason in (*_PROGRESSING, *_HELD, Reason.PAUSED):
        return False
    return ready.reason not in _WAITS or served is not None


def _ready(deployment: ModelDeployment, seen: Observation, served: Revision | None) -> Verdict:
    """Judge whether what is wanted is served, whole."""
    stays = f"; version {served.version} stays served" if served else ""
    if isinstance(seen.wanted, Problem):
        return _not_ready(seen.wanted.reason, seen.wanted.message + stays)
    if seen.refused is not None:
        return _not_ready(seen.refused.reason, seen.refused.message + stays)
    current = served is not None and served.revision == seen.wanted.revision
    if is_paused(deployment) and not current:
        text = "nothing is changed while modelyard.dev/paused is true: kubectl modelyard resume"
        return _not_ready(Reason.PAUSED, f"{text} {deployment.metadata.name}{stays}")
    if seen.plan.refused is not None:
        return _taken_back(seen.plan.refused, stays)
    selected = seen.served if seen.plan.stable == seen.wanted.revision else None
    if selected is not None and (current or not selected.desired):
        return _whole(selected, seen)
    return _on_the_way(seen, seen.wanted, stays)


def _taken_back(refused: RefusedVersion, stays: str) -> Verdict:
    text = f"version {refused.version} was taken back ({refused.reason}): {refused.message}{stays}"
    return _not_ready(Reason.ROLLED_BACK, text)


def _on_the_way(seen: Observation, wanted: ServedModel, stays: str) -> Verdict:
    """Say how far the wanted version has come."""
    rollout, waiting = seen.plan.rollout, seen.plan.waiting
    if seen.fault is not None:
        return _not_ready(seen.fault.reason, f"version {wanted.version}: {seen.fault.message}{stays}")
    if seen.surroundings is not None:
        return _not_ready(seen.surroundings.reason, f"{seen.surroundings.message}{stays}")
    if waiting is not None:
        where = f" at {rollout.weight} %" if rollout and rollout.weight else ""
        return _not_ready(waiting.reason, f"version {wanted.version}{where}: {waiting.message}{stays}")
    candidate = seen.revisions.get(wanted.revision)
    pods = f"{candidate.ready if candidate else 0} of {seen.plan.pods.get(wanted.revision, 0)} pods are ready"
    if rollout is None or rollout.phase == RolloutPhase.STARTING:
        return _not_ready(Reason.ROLLING_OUT, f"version {wanted.version} is starting: {pods}{stays}")
    if rollout.phase == RolloutPhase.ANALYSING:
        text = f"version {wanted.version} is compared with the served one"
        return _not_ready(Reason.ANALYSING, f"{text}, at {rollout.weight} % of the traffic{stays}")
    return _not_ready(Reason.ROLLING_OUT, f"{_step(rollout)}: {pods}{stays}")


def _step(rollout: RolloutStatus) -> str:
    step = f" (step {rollout.step} of {rollout.steps})" if rollout.steps > 1 else ""
    return f"version {rollout.version} has {rollout.actual_weight} % of the traffic{step}, {rollout.phase.lower()}"


def _whole(served: Revision, seen: Observation) -> Verdict:
    """Judge the served version, where it is the wanted one, by its pods and by the way to them."""
    if served.desired == 0:
        text = "spec.rest.replicas is 0"
        return Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.SCALED_TO_ZERO, text)
    if served.settled and seen.surroundings is not None:
        return _not_ready(seen.surroundings.reason, seen.surroundings.message)
    if served.settled:
        text = f"version {served.version} answers with {served.ready} of {served.desired} pods"
        return Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.SERVING, text)
    if seen.stable_fault is not None:
        count = f"{served.ready} of {served.desired} pods of version {served.version} are ready"
        return _not_ready(seen.stable_fault.reason, f"{count}: {seen.stable_fault.message}")
    count = f"{served.ready} of {served.desired} pods of version {served.version} are ready"
    return _not_ready(Reason.TOO_FEW_READY_PODS if served.ready else Reason.NO_READY_PODS, count)


def _not_ready(reason: Reason, message: str) -> Verdict:
    return Verdict(ConditionType.READY, ConditionStatus.FALSE, reason, message)


def _serving(served: Revision | None) -> Verdict:
    if served is None:
        text = "no version has been ready yet"
        return Verdict(ConditionType.SERVING, ConditionStatus.FALSE, Reason.NO_READY_PODS, text)
    if served.ready:
        text = f"version {served.version} answers"
        return Verdict(ConditionType.SERVING, ConditionStatus.TRUE, Reason.SERVING, text)
    reason = Reason.NO_READY_PODS if served.desired else Reason.SCALED_TO_ZERO
    text = f"version {served.version} has no ready pod"
    return Verdict(ConditionType.SERVING, ConditionStatus.FALSE, reason, text)


_BY_REASON = {
    Reason.PAUSED: Phase.PAUSED,
    Reason.ROLLED_BACK: Phase.ROLLED_BACK,
    **dict.fromkeys(_HELD, Phase.HELD),
    **dict.fromkeys(_PROGRESSING, Phase.PROGRESSING),
}


def _phase(deployment: ModelDeployment, ready: Verdict, served: Revision | None, *, stalled: bool) -> Phase:
    if ready.status == ConditionStatus.TRUE:
        return Phase.PAUSED if is_paused(deployment) else Phase.SERVING
    if ready.reason in _BY_REASON:
        return _BY_REASON[ready.reason]
    return Phase.PENDING if served is None and not stalled else Phase.DEGRADED


def _steady(rollout: RolloutStatus | None, before: RolloutStatus | None) -> RolloutStatus | None:
    """Return the rollout without what changes with each look.

    A measurement every few seconds would be a write every few seconds: figures are shown anew when a verdict has
    changed, or when there are twice as many samples.
    """
    if rollout is None or before is None or rollout.revision != before.revision:
        return rollout
    if _outline(rollout) != _outline(before):
        return rollout
    same = (rollout.phase, rollout.step, rollout.weight) == (before.phase, before.step, before.weight)
    return rollout.model_copy(update={"figures": before.figures}) if same else rollout


def _outline(rollout: RolloutStatus) -> list[tuple[str, FigureVerdict, int]]:
    return [(each.name, each.verdict, each.samples.bit_length()) for each in rollout.figures]


def _steady_words(ready: Verdict, before: tuple[Condition, ...]) -> Verdict:
    """Return the verdict with the words that it had: those about samples that are still too few count them."""
    old = next((each for each in before if each.type == ready.type), None)
    same = old is not None and ready.reason == old.reason == Reason.ANALYSIS_INCONCLUSIVE
    return replace(ready, message=old.message) if old is not None and same else ready


def _deployed(revision: Revision, before: DeployedVersion | None, now: datetime) -> DeployedVersion:
    same = before is not None and (before.model, before.version, before.digest) == _identity(revision)
    return DeployedVersion(
        model=revision.model,
        version=revision.version,
        digest=revision.digest,
        since=before.since if before and same else timestamp(now),
    )


def _candidate(
    seen: Observation, served: Revision | None, before: DeployedVersion | None, now: datetime
) -> DeployedVersion | None:
    if isinstance(seen.wanted, Problem) or seen.plan.refused is not None:
        return None
    if served is not None and served.revision == seen.wanted.revision:
        return None
    candidate = seen.revisions.get(seen.wanted.revision)
    return _deployed(candidate, before, now) if candidate else None


def _draining(seen: Observation) -> tuple[DrainingVersion, ...]:
    return tuple(
        DrainingVersion(version=seen.revisions[revision].version, revision=revision, since=timestamp(since))
        for revision, since in sorted(seen.plan.draining.items())
        if revision in seen.revisions
    )


def _selector(deployment: ModelDeployment, revision: str) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(pod_labels(deployment.metadata.name, revision).items()))
