"""How many pods each side of a rollout has: for a share of the traffic, and on the way of a rolling update."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from modelyard.api.modeldeployment import RestSpec


@dataclass(frozen=True)
class PodCounts:
    """Pods that are wanted of the stable version and of the candidate."""

    stable: int
    candidate: int


def surge(replicas: int, percent: int) -> int:
    """Return how many pods above `replicas` a rolling update may have: at least one, as for a Deployment."""
    return max(1, ceil(replicas * percent / 100))


def first_replicas(rest: RestSpec) -> int:
    """Return how many pods a version has that comes after none."""
    return rest.autoscaling.min_replicas if rest.autoscaling else rest.replicas


def full_replicas(rest: RestSpec, live: int) -> int:
    """Return how many pods a version has that gets all of the traffic; `live`: those that the stable one is to have.

    An autoscaler has the number, within its bounds.
    """
    if rest.autoscaling is None:
        return rest.replicas
    return min(max(live, rest.autoscaling.min_replicas), rest.autoscaling.max_replicas)


def by_counts(replicas: int, weight: int, *, fixed: bool) -> PodCounts:
    """Return the counts that bring the candidate nearest to `weight` percent, where every pod gets an equal share.

    The larger side has `replicas` pods, so capacity never shrinks. With `fixed` the stable side is an autoscaler's
    and keeps its pods: then the candidate gets half of the traffic at most.
    """
    if weight <= 50 or fixed:
        share = min(weight, 50)
        return PodCounts(replicas, max(1, round(replicas * share / (100 - share))))
    return PodCounts(max(1, round(replicas * (100 - weight) / weight)), replicas)


def by_route(replicas: int, weight: int) -> PodCounts:
    """Return the counts where a route has the weight, and pods only have to bear it."""
    return PodCounts(replicas, max(1, ceil(replicas * weight / 100)))


def rolling(replicas: int, allowed: int, stable_present: int, candidate_ready: int) -> PodCounts:
    """Return the counts of a rolling update: at least `replicas` ready pods, at most `allowed` more in all.

    `stable_present`: the stable version's pods that are there, or are on their way.
    """
    stable = max(0, replicas - candidate_ready)
    room = replicas + allowed - max(stable_present, stable)
    return PodCounts(stable, candidate=min(replicas, max(candidate_ready, room, 1)))


def share(stable_ready: int, candidate_ready: int) -> int:
    """Return the candidate's share in percent, where every ready pod gets an equal one."""
    total = stable_ready + candidate_ready
    return round(100 * candidate_ready / total) if total else 0
