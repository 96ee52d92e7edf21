"""The steps of a rollout, and where it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.rollout import RolloutPhase, RolloutSpec, RolloutStatus, Strategy
from modelyard.cli.output import short_age


class State(StrEnum):
    """Where a rollout is with a step."""

    DONE = "Done"
    CURRENT = "Current"
    AHEAD = "Ahead"


@dataclass(frozen=True)
class Point:
    """A step: `doing` says in words what goes on at the present one."""

    label: str
    state: State
    doing: str = ""


def points(deployment: ModelDeployment, *, held: bool, now: datetime) -> tuple[Point, ...]:
    """Return the steps of the rollout that is under way, from the candidate's start to all of the traffic."""
    rollout = deployment.status.rollout
    if rollout is None:
        return ()
    spec = deployment.spec.rest.rollout or RolloutSpec()
    labels = _labels(spec, rollout)
    present = min(_present(spec, rollout), len(labels) - 1)
    doing = _doing(spec, rollout, held=held, now=now)
    return tuple(
        Point(label, State.DONE if index < present else State.AHEAD)
        if index != present
        else Point(label, State.CURRENT, doing)
        for index, label in enumerate(labels)
    )


def _labels(spec: RolloutSpec, rollout: RolloutStatus) -> list[str]:
    """Return the steps' names; where the spec was changed since, the status knows how many there are."""
    labels = ["start"]
    if _watches(spec, rollout):
        labels.append("shadow" if rollout.strategy == Strategy.SHADOW else "preview")
    elif _analysed(spec, rollout):
        labels.append("analysis")
    if rollout.strategy == Strategy.CANARY:
        labels += [f"{step.weight} %" for step in spec.steps] or [f"step {n}" for n in range(1, rollout.steps + 1)]
    return [*labels, "100 %"]


def _watches(spec: RolloutSpec, rollout: RolloutStatus) -> bool:
    return rollout.strategy in (Strategy.SHADOW, Strategy.BLUE_GREEN) and (
        spec.pause is not None or spec.hold or _analysed(spec, rollout)
    )


def _analysed(spec: RolloutSpec, rollout: RolloutStatus) -> bool:
    return spec.analysis is not None or rollout.strategy == Strategy.SHADOW


def _present(spec: RolloutSpec, rollout: RolloutStatus) -> int:
    """Return the index of the present step."""
    before = 1 + (1 if _watches(spec, rollout) or _analysed(spec, rollout) else 0)
    if rollout.phase == RolloutPhase.FINISHING:
        return before + (len(spec.steps) or rollout.steps if rollout.strategy == Strategy.CANARY else 0)
    if rollout.step:
        return before + (rollout.step - 1 if rollout.strategy == Strategy.CANARY else 0)
    return 0 if rollout.phase == RolloutPhase.STARTING else 1


def _doing(spec: RolloutSpec, rollout: RolloutStatus, *, held: bool, now: datetime) -> str:
    since = datetime.fromisoformat(rollout.step_since) if rollout.step_since else None
    age = f" {short_age((now - since).total_seconds())}" if since else ""
    if held:
        return f"held{age}"
    if rollout.phase == RolloutPhase.PAUSING:
        in_steps = rollout.strategy == Strategy.CANARY and 0 < rollout.step <= len(spec.steps)
        pause = spec.steps[rollout.step - 1].pause if in_steps else spec.pause
        return f"holding{age}" + (f" of {pause}" if pause else "")
    if rollout.phase == RolloutPhase.SHIFTING:
        return f"shifting, {rollout.actual_weight} % now"
    return {
        RolloutPhase.STARTING: "starting",
        RolloutPhase.ANALYSING: f"analysing{age}",
        RolloutPhase.FINISHING: "finishing",
    }.get(rollout.phase, str(rollout.phase).lower())
