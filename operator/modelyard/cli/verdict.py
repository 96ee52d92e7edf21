"""What has come of a promotion, as the object's status tells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from modelyard.api.common import ConditionStatus
from modelyard.api.gates import GateResult, GateVerdict
from modelyard.api.model_status import CandidateStatus, Verdict
from modelyard.api.reasons import ConditionType
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import ASSIGNABLE


class Outcome(Enum):
    """How a promotion stands."""

    DONE = auto()
    REFUSED = auto()
    PENDING = auto()


@dataclass(frozen=True)
class Standing:
    """How a promotion stands, in words, and the gates that were judged, as far as they are known."""

    outcome: Outcome
    message: str
    gates: tuple[GateResult, ...] = ()

    @property
    def waits_for_approval(self) -> bool:
        """Whether only a person's approval is missing."""
        verdicts = {gate.verdict for gate in self.gates}
        return GateVerdict.WAITING in verdicts and verdicts <= {GateVerdict.WAITING, GateVerdict.PASSED}


def standing(model: RegisteredModel, key: str, version: int, generation: int) -> Standing:
    """Return how the promotion of `version` to the stage `key` stands.

    It was asked for by the edit that made the object's `generation`.
    """
    stage, name = ASSIGNABLE[key], model.model_name
    if (model.status.observed_generation or 0) < generation:
        return Standing(Outcome.PENDING, f"waiting for the operator to see version {version} of {name} in the spec")
    held = model.status.stages.get(key)
    if held is not None and held.version == version:
        return Standing(Outcome.DONE, f"version {version} of {name} is in {stage}")
    wanted = model.wanted_stages.get(key)
    if wanted != version:
        asks = f"asks for version {wanted}" if wanted else "asks for none"
        return Standing(Outcome.REFUSED, f"spec.stages.{key} of {name} was changed meanwhile and {asks}")
    candidate = next((c for c in model.status.candidates if (c.stage, c.version) == (key, version)), None)
    if candidate is None:
        return _without_candidate(model, f"version {version} of {name} is not in {stage}")
    if candidate.verdict == Verdict.REFUSED:
        return Standing(Outcome.REFUSED, f"version {version} of {name} is refused in {stage}", candidate.gates)
    return Standing(Outcome.PENDING, _progress(candidate, f"version {version} of {name} for {stage}"), candidate.gates)


def _without_candidate(model: RegisteredModel, wish: str) -> Standing:
    conditions = {condition.type: condition for condition in model.status.conditions}
    ready, stalled = conditions.get(ConditionType.READY), conditions.get(ConditionType.STALLED)
    said = ready.message if ready else ""
    if stalled is not None and stalled.status == ConditionStatus.TRUE:
        return Standing(Outcome.REFUSED, f"{wish}: {said}")
    return Standing(Outcome.PENDING, f"{wish} yet: {said}" if said else f"{wish} yet")


def _progress(candidate: CandidateStatus, wish: str) -> str:
    """Return who is waited for."""
    open_gates: dict[GateVerdict, list[str]] = {}
    for gate in candidate.gates:
        if gate.verdict not in (GateVerdict.PASSED, GateVerdict.FAILED):
            open_gates.setdefault(gate.verdict, []).append(gate.name)
    passed = sum(1 for gate in candidate.gates if gate.verdict == GateVerdict.PASSED)
    words = {
        GateVerdict.RUNNING: "running",
        GateVerdict.WAITING: "waiting for approval",
        GateVerdict.UNKNOWN: "not known yet",
    }
    waits = "; ".join(f"{words[verdict]}: {', '.join(names)}" for verdict, names in open_gates.items())
    return f"{wish}: {passed} of {len(candidate.gates)} gates passed" + (f"; {waits}" if waits else "")
