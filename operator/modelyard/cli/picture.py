"""What `status` has to say of a deployment, for a person and for a program. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.modeldeployment import DeployedVersion, ModelDeployment, ServedStage
from modelyard.api.names import ABORT_ANNOTATION
from modelyard.api.reasons import EXPLANATIONS, ConditionType, Reason
from modelyard.api.rollout import Figure, RefusedVersion
from modelyard.api.serving import ServedModel
from modelyard.cli.look import Look, Pods
from modelyard.cli.rollout_line import Point, points
from modelyard.cli.steer import is_held
from modelyard.cli.traffic import p99
from modelyard.decide.pod_metrics import PodMetrics
from modelyard.decide.rollout import is_paused

Json = dict[str, Any]

_WHOLE = 100
_WHICH = re.compile(r"^version \d+( at \d+ %)?: ")
"""How the operator's message begins: what is said already."""


@dataclass(frozen=True)
class Row:
    """One version. Weights are shares of the requests in percent; `counted` is over `seconds` if given."""

    role: str
    version: int
    revision: str
    weight: int | None
    wanted_weight: int | None
    pods: Pods | None
    counted: PodMetrics | None
    seconds: float | None
    since: str

    def to_json(self) -> Json:
        """Return it for a program; what is not known is left out."""
        traffic: Json = {}
        if self.counted is not None:
            slowest = p99(self.counted)
            traffic = {
                "requests": sum(self.counted.requests.values()),
                "errors": self.counted.failed,
                "p99Seconds": None if slowest is None else round(slowest, 6),
                "seconds": None if self.seconds is None else round(self.seconds, 3),
            }
        fields = {
            "role": self.role,
            "version": self.version,
            "revision": self.revision,
            "weight": self.weight,
            "wantedWeight": self.wanted_weight,
            "readyPods": self.pods.ready if self.pods else None,
            "wantedPods": self.pods.wanted if self.pods else None,
            "since": self.since or None,
        }
        said = {name: value for name, value in traffic.items() if value is not None}
        return {**{k: v for k, v in fields.items() if v is not None}, **({"traffic": said} if said else {})}


@dataclass(frozen=True)
class Advice:
    """Something that stands still, why, and the commands that change that, with what each does."""

    what: str
    why: str
    commands: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Picture:
    """A deployment, as `status` shows it."""

    deployment: ModelDeployment
    at: datetime
    ready: Condition | None
    rows: tuple[Row, ...]
    points: tuple[Point, ...]
    figures: tuple[Figure, ...]
    remedy: str
    paused: Advice | None
    held: Advice | None
    refused: Advice | None
    notes: tuple[str, ...]

    def to_json(self) -> Json:
        """Return it for a program."""
        deployment, status = self.deployment, self.deployment.status
        ready = self.ready
        answer: Json = {
            "name": deployment.metadata.name,
            "namespace": deployment.metadata.namespace,
            "model": deployment.spec.model.to_dict(),
            "phase": status.phase,
            "ready": ready.to_dict() if ready else None,
            "url": status.url,
            "paused": self.paused is not None,
            "versions": [row.to_json() for row in self.rows],
            "rollout": status.rollout.to_dict() if status.rollout else None,
            "held": {"why": self.held.why, "commands": [command for command, _ in self.held.commands]}
            if self.held
            else None,
            "refused": status.refused.to_dict() if status.refused else None,
            "notes": list(self.notes),
        }
        return {name: value for name, value in answer.items() if value is not None}


def picture(look: Look) -> Picture:
    """Return what there is to say of what was seen."""
    deployment = look.deployment
    status = deployment.status
    ready = next((each for each in status.conditions if each.type == ConditionType.READY), None)
    held = is_held(deployment)
    figures = status.rollout.figures if status.rollout else status.refused.figures if status.refused else ()
    return Picture(
        deployment,
        look.at,
        ready,
        _rows(look),
        points(deployment, held=held, now=look.at),
        figures,
        _remedy(ready, deployment),
        _paused(deployment) if is_paused(deployment) else None,
        _held(deployment, ready) if held else None,
        _refused(deployment, status.refused) if status.refused else None,
        _notes(look),
    )


def _rows(look: Look) -> tuple[Row, ...]:
    """Return the versions that there are, and the one that was refused."""
    status = look.deployment.status
    rollout = status.rollout
    rows: list[Row] = []

    def add(role: str, version: int, revision: str, weights: tuple[int, int], since: str) -> None:
        counted = look.counted.get(revision)
        rows.append(Row(role, version, revision, *weights, look.pods.get(revision), counted, look.seconds, since))

    if status.served is not None:
        stable = _revision(status.served)
        weights = (_WHOLE - rollout.actual_weight, _WHOLE - rollout.weight) if rollout else (_WHOLE, _WHOLE)
        add("stable", status.served.version, stable, weights, status.served.since)
        if rows[0].pods is None:
            rows[0] = replace(rows[0], pods=Pods(status.ready_replicas, status.replicas))
    if status.candidate is not None:
        revision = rollout.revision if rollout else _revision(status.candidate)
        weights = (rollout.actual_weight, rollout.weight) if rollout else (0, 0)
        add("candidate", status.candidate.version, revision, weights, status.candidate.since)
    for each in status.draining:
        add("draining", each.version, each.revision, (0, 0), each.since)
    refused = status.refused
    if refused is not None and refused.revision not in {row.revision for row in rows}:
        add("refused", refused.version, refused.revision, (0, 0), refused.at)
    return tuple(rows)


def _revision(deployed: DeployedVersion) -> str:
    return ServedModel(deployed.model, deployed.version, "", deployed.digest).revision


def _remedy(ready: Condition | None, deployment: ModelDeployment) -> str:
    """Return what to do about a reason that somebody has to do something about."""
    stalled = any(
        each.type == ConditionType.STALLED and each.status == ConditionStatus.TRUE
        for each in deployment.status.conditions
    )
    if ready is None or not stalled or ready.reason not in set(Reason):
        return ""
    return EXPLANATIONS[Reason(ready.reason)].remedy


def _paused(deployment: ModelDeployment) -> Advice:
    name = deployment.metadata.name
    return Advice("paused", "nothing of it is changed", ((f"kubectl modelyard resume {name}", "goes on"),))


def _held(deployment: ModelDeployment, ready: Condition | None) -> Advice:
    name, rollout = deployment.metadata.name, deployment.status.rollout
    assert rollout is not None
    where = f"at {rollout.weight} %" if rollout.weight else "before it gets requests"
    said = ready.message.partition("to go on:")[0] if ready and ready.status != ConditionStatus.TRUE else ""
    return Advice(
        f"version {rollout.version} is held {where}",
        _WHICH.sub("", said).strip(" ;") or "it waits for somebody",
        (
            (f"kubectl modelyard promote {name}", "goes on"),
            (f"kubectl modelyard promote {name} --full", "goes to 100 % at once"),
            (f"kubectl modelyard abort {name}", "takes it back"),
        ),
    )


def _refused(deployment: ModelDeployment, refused: RefusedVersion) -> Advice:
    """Say what was refused and how it is tried again, or another version."""
    name, model = deployment.metadata.name, deployment.spec.model
    commands = []
    if deployment.metadata.annotations.get(ABORT_ANNOTATION, "").strip() == str(refused.version):
        forget = f"kubectl annotate modeldeployment {name} {ABORT_ANNOTATION}-"
        commands.append((forget, "and a change of its spec: tries it again"))
    else:
        commands.append((f"kubectl edit modeldeployment {name}", "any change of its spec tries it again"))
    if model.stage is not None:
        stage = " --stage staging" if model.stage == ServedStage.STAGING else ""
        commands.append((f"kubectl modelyard promote {model.name} VERSION{stage}", "serves another one"))
    commands.append((f"kubectl modelyard rollback {name}", "asks for the one before"))
    return Advice(f"version {refused.version} is refused", f"{refused.reason}: {refused.message}", tuple(commands))


def _notes(look: Look) -> tuple[str, ...]:
    generation, observed = look.deployment.metadata.generation, look.deployment.status.observed_generation or 0
    behind = ("the operator has not seen the newest spec yet",) if observed < generation else ()
    return (*behind, *look.notes)
