"""What a rollout is decided from, and what a decision is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.reasons import Reason
from modelyard.api.rollout import RefusedVersion, RolloutSpec, RolloutStatus, Strategy, TrafficMethod
from modelyard.api.serving import ServedModel
from modelyard.decide.analysis import Judgement
from modelyard.decide.conditions import timestamp
from modelyard.decide.modeldeployment import NOTHING, Problem, Reported, Revision, Traffic
from modelyard.decide.pods import Diagnosis


@dataclass(frozen=True)
class Observed:
    """What a rollout is decided from. The revisions name Deployments."""

    wanted: ServedModel | Problem
    revisions: Mapping[str, Revision]
    traffic: Traffic
    before: Reported
    method: TrafficMethod
    """How shares of traffic are brought about here: POD_COUNTS, HTTP_ROUTE or INGRESS_CANARY."""

    now: datetime
    fault: Diagnosis | None = None
    """What is wrong with the candidate's pods."""

    restarts: int = 0
    """How often the candidate's containers have been restarted."""

    judgement: Judgement | None = None
    """What the analysis says of the candidate; None where it was not measured."""

    @property
    def stable(self) -> Revision | None:
        """The version that is served, if it has been ready at any time."""
        # A Service that somebody deleted says nothing; the status still does.
        for name in (self.traffic.stable, self.before.served or NOTHING):
            found = self.revisions.get(name)
            if found and (found.ready or self.before.served == found.revision):
                return found
        return None


@dataclass(frozen=True)
class Waiting:
    """Why a rollout stands still until somebody acts."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Plan:
    """What to bring about. The revisions name Deployments."""

    stable: str
    """The revision that the Service serves; `NOTHING` where there is none."""

    pods: Mapping[str, int]
    """How many pods each revision is to have; those that are not here are left as they are, or go."""

    split: bool = False
    """Whether the Service selects the candidate's pods, too."""

    candidate: str | None = None
    weight: int = 0
    """The candidate's share, in percent, where a route has it."""

    rollout: RolloutStatus | None = None
    refused: RefusedVersion | None = None
    waiting: Waiting | None = None
    remove: frozenset[str] = frozenset()
    draining: Mapping[str, datetime] = field(default_factory=dict)
    again_after: float | None = None
    """Seconds until something is due although nothing changes."""


def refusal(deployment: ModelDeployment, seen: Observed, reason: Reason, message: str) -> RefusedVersion:
    """Return what is written down of the wanted version when it is taken back."""
    assert isinstance(seen.wanted, ServedModel)
    return RefusedVersion(
        model=seen.wanted.name,
        version=seen.wanted.version,
        revision=seen.wanted.revision,
        digest=seen.wanted.digest,
        reason=reason,
        message=message[:1024],
        at=timestamp(seen.now),
        generation=deployment.metadata.generation,
        figures=seen.judgement.figures if seen.judgement else (),
    )


def analysed(spec: RolloutSpec | None) -> bool:
    """Whether candidates are judged by figures: where bounds are given, and always by the strategy Shadow."""
    return spec is not None and (spec.analysis is not None or spec.strategy == Strategy.SHADOW)


def annotation(deployment: ModelDeployment, name: str) -> str:
    """Return what the annotation of the ModelDeployment says, or nothing."""
    return deployment.metadata.annotations.get(name, "").strip()
