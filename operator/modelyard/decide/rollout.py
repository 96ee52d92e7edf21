"""How traffic gets from the version that is served to the one that is wanted, decided anew from what is seen each time.

Nothing is remembered but what the status says (which step, since when, what was refused); the live Service says which
version is served. So the operator may end at any line, and its successor goes on.
"""

from __future__ import annotations

from dataclasses import replace

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import ABORT_ANNOTATION, PAUSED_ANNOTATION
from modelyard.api.reasons import Reason
from modelyard.api.rollout import RefusedVersion
from modelyard.decide.modeldeployment import DRAIN, NOTHING, Problem
from modelyard.decide.pod_counts import first_replicas, full_replicas
from modelyard.decide.rollout_plan import Observed, Plan, analysed, annotation, refusal
from modelyard.decide.rollout_steps import UnderWay

__all__ = ["Observed", "Plan", "analysed", "frozen", "is_paused", "plan"]


def plan(deployment: ModelDeployment, seen: Observed) -> Plan:
    """Decide what is served, by which pods, and what goes."""
    refused = _still_refused(deployment, seen)
    stable = seen.stable
    if isinstance(seen.wanted, Problem):
        # What is served stays served, whatever has become of the registry.
        return _tidy(seen, _only(deployment, seen, stable.revision if stable else NOTHING, refused))
    if stable is None and refused and seen.before.served:
        # Somebody removed the Deployment of what was served: better made anew than what was taken back.
        return _tidy(seen, _at_once(deployment, seen.before.served, refused))
    if stable is None or not full_replicas(deployment.spec.rest, stable.desired):
        return _tidy(seen, _at_once(deployment, seen.wanted.revision))
    if stable.revision == seen.wanted.revision or refused:
        return _tidy(seen, _only(deployment, seen, stable.revision, refused))
    if annotation(deployment, ABORT_ANNOTATION) == str(seen.wanted.version):
        message = f"version {seen.wanted.version} was taken back: {ABORT_ANNOTATION} names it"
        aborted = refusal(deployment, seen, Reason.ABORTED, message)
        return _tidy(seen, _only(deployment, seen, stable.revision, aborted))
    return _tidy(seen, UnderWay(deployment, seen, seen.wanted, stable).plan())


def _still_refused(deployment: ModelDeployment, seen: Observed) -> RefusedVersion | None:
    """Return the refusal that stands: of the wanted revision, since the spec was last changed."""
    refused = deployment.status.refused
    if refused is None or isinstance(seen.wanted, Problem) or refused.revision != seen.wanted.revision:
        return None
    return refused if refused.generation == deployment.metadata.generation else None


def _at_once(deployment: ModelDeployment, revision: str, refused: RefusedVersion | None = None) -> Plan:
    """Nothing is served, or nothing is to be: there is nobody to protect, and nothing to compare with."""
    return Plan(revision, {revision: first_replicas(deployment.spec.rest)}, refused=refused)


def _only(deployment: ModelDeployment, seen: Observed, stable: str, refused: RefusedVersion | None) -> Plan:
    live = seen.revisions.get(stable)
    pods = {stable: full_replicas(deployment.spec.rest, live.desired)} if live else {}
    return Plan(stable, pods, refused=refused)


def _tidy(seen: Observed, plan: Plan) -> Plan:
    """Add what becomes of the revisions that have no part in it any more.

    Those that may have got requests are kept until the requests that reached them have been answered.
    """
    others = {name: found for name, found in seen.revisions.items() if name not in plan.pods and name != plan.stable}
    since = {name: seen.before.draining.get(name, seen.now) for name, found in others.items() if found.ready}
    active = {name: start for name, start in since.items() if seen.now - start < DRAIN}
    due = [(DRAIN - (seen.now - start)).total_seconds() for start in active.values()]
    return replace(
        plan,
        remove=frozenset(others) - frozenset(active),
        draining=active,
        again_after=min([*due, *([plan.again_after] if plan.again_after is not None else [])], default=None),
    )


def frozen(deployment: ModelDeployment, seen: Observed) -> Plan:
    """Return the plan that leaves everything as it is, for a deployment that somebody has paused."""
    status = deployment.status
    return Plan(
        stable=seen.stable.revision if seen.stable else seen.traffic.stable,
        pods={name: found.desired for name, found in seen.revisions.items()},
        split=seen.traffic.split,
        candidate=status.rollout.revision if status.rollout else None,
        weight=status.rollout.weight if status.rollout else 0,
        rollout=status.rollout,
        refused=status.refused,
        draining=seen.before.draining,
    )


def is_paused(deployment: ModelDeployment) -> bool:
    """Whether somebody has paused the deployment."""
    return annotation(deployment, PAUSED_ANNOTATION).lower() == "true"
