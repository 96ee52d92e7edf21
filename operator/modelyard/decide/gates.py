"""Whether a version may enter a stage: every gate of it is judged, and the judgement lists each with its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from modelyard.api.approval import Approval
from modelyard.api.gates import Gate, GateResult, GateVerdict, Goal
from modelyard.api.model_status import Verdict
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import ASSIGNABLE
from modelyard.decide.signatures import SignatureState, SignatureVerdict
from modelyard.records.state import ModelState, VersionState

_LISTED_METRICS = 10
_MESSAGE_LIMIT = 512
_SUMMARY_LIMIT = 3400
_WORDS_SHOWN = 100


@dataclass(frozen=True)
class Metrics:
    """A version's metrics, or the reason why they are not known; `passing` where that may go away by itself."""

    values: Mapping[str, Decimal] = field(default_factory=dict)
    problem: str | None = None
    passing: bool = False


@dataclass(frozen=True)
class Held:
    """The version that is in a stage, and its metrics."""

    version: int
    metrics: Metrics


@dataclass(frozen=True)
class JobReport:
    """How a validation Job stands."""

    verdict: GateVerdict
    message: str


@dataclass(frozen=True)
class Approvals:
    """The Approvals of the namespace.

    `problem` says why they cannot be counted: without the admission policy anybody could write them in any name.
    `passing` where they could only not be read now.
    """

    given: tuple[Approval, ...] = ()
    unproven: tuple[Approval, ...] = ()
    """Those that are older than the policy, and may have been written in anybody's name."""
    problem: str | None = None
    passing: bool = False


@dataclass(frozen=True)
class Evidence:
    """What is known of a version that is to enter `stage`, a key of `spec.stages`."""

    model: str
    stage: str
    version: VersionState
    metrics: Metrics = Metrics()
    held: Mapping[str, Held] = field(default_factory=dict)
    """By key of `spec.stages`, the stages that are empty left out."""
    jobs: Mapping[str, JobReport] = field(default_factory=dict)
    """By gate, as `signatures`."""
    approvals: Approvals = Approvals()
    signatures: Mapping[str, SignatureVerdict] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """What the gates of a stage come to for one version; `fingerprint` identifies what was judged."""

    verdict: Verdict
    results: tuple[GateResult, ...]
    fingerprint: str
    recorded: bool = False
    """It is a refusal that is in the records already: nothing was judged again."""

    @property
    def message(self) -> str:
        """All gates in one sentence, those that were not passed first."""
        return summary(self.results)


def fingerprint(model: RegisteredModel, version: VersionState, stage: str) -> str:
    """Identify what a judgement is about: a refused version is judged again only when this is another one."""
    return _hash(
        version.version,
        version.digest,
        version.description,
        dict(version.tags),
        [gate.to_dict() for gate in model.spec.gates.get(stage, ())],
        model.metadata.generation,
    )


def attempt(state: ModelState, version: VersionState, stage: str, gate: Gate) -> str:
    """Identify one run of a validation Job.

    It stays the same while the version waits for other gates, whatever else is edited meanwhile, and is another one
    after a refusal. A version that comes back to a stage has passed already, with these bytes and this gate.
    """
    refusal = state.refusals.get(stage)
    return _hash(version.version, version.digest, stage, gate.to_dict(), refusal.fingerprint if refusal else "")


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def remembered(model: RegisteredModel, state: ModelState, version: VersionState, stage: str) -> Judgement | None:
    """Return the refusal of just this version, with these gates and this spec, if the records have it."""
    refusal = state.refusals.get(stage)
    if refusal is None or refusal.version != version.version:
        return None
    if refusal.fingerprint != fingerprint(model, version, stage):
        return None
    return Judgement(Verdict.REFUSED, refusal.gates, refusal.fingerprint, recorded=True)


def judge(gates: Iterable[Gate], evidence: Evidence, identity: str) -> Judgement:
    """Judge every gate. `identity` is the fingerprint of what is judged.

    A refusal waits until all gates have ended, so that it names all that is wrong at once; a missing approval does not
    hold it up.
    """
    results = tuple(_result(gate, evidence) for gate in gates)
    verdicts = {result.verdict for result in results}
    if GateVerdict.RUNNING in verdicts:
        overall = Verdict.RUNNING
    elif GateVerdict.UNKNOWN in verdicts:
        overall = Verdict.UNKNOWN
    elif GateVerdict.FAILED in verdicts:
        overall = Verdict.REFUSED
    elif GateVerdict.WAITING in verdicts:
        overall = Verdict.WAITING
    else:
        overall = Verdict.ALLOWED
    return Judgement(overall, results, identity)


def summary(results: Sequence[GateResult]) -> str:
    """Return all results in one sentence, those that were not passed first; it fits into a condition's message."""
    room = _SUMMARY_LIMIT // max(len(results), 1)
    order = sorted(results, key=lambda result: result.verdict is GateVerdict.PASSED)
    return "; ".join(
        f"{result.name} {_WORDS[result.verdict]}: {_cut(result.message, max(room - len(result.name), _WORDS_SHOWN))}"
        for result in order
    )


_WORDS = {
    GateVerdict.PASSED: "passed",
    GateVerdict.FAILED: "failed",
    GateVerdict.RUNNING: "is running",
    GateVerdict.WAITING: "is waiting",
    GateVerdict.UNKNOWN: "is not known",
}


def _result(gate: Gate, evidence: Evidence) -> GateResult:
    verdict, message = _judged(gate, evidence)
    return GateResult(name=gate.name, verdict=verdict, message=_cut(message, _MESSAGE_LIMIT))


Judged = tuple[GateVerdict, str]


def _judged(gate: Gate, evidence: Evidence) -> Judged:
    if gate.metric is not None:
        return _metric(gate, gate.metric, evidence)
    if gate.from_stage is not None:
        return _from_stage(gate.from_stage, evidence)
    if gate.job is not None:
        report = evidence.jobs[gate.name]
        return report.verdict, report.message
    if gate.approvers is not None:
        return _approval(gate.approvers, evidence)
    return _signature(evidence.signatures[gate.name])


def _metric(gate: Gate, name: str, evidence: Evidence) -> Judged:
    value = _value(name, f"version {evidence.version.version}", evidence.metrics)
    if not isinstance(value, Decimal):
        return value
    verdicts = [_bounds(gate, name, value)] if gate.min is not None or gate.max is not None else []
    if gate.compared_to is not None:
        verdicts.append(_comparison(gate, gate.compared_to, name, value, evidence))
    return _worst(verdicts)


def _value(name: str, whose: str, metrics: Metrics) -> Decimal | Judged:
    if metrics.problem is not None:
        verdict = GateVerdict.UNKNOWN if metrics.passing else GateVerdict.FAILED
        return verdict, f"{name} of {whose} is not known: {metrics.problem}"
    value = metrics.values.get(name)
    if value is None:
        return GateVerdict.FAILED, f"{whose} has no metric {name}; {_listed(metrics.values)}"
    if not value.is_finite():
        return GateVerdict.FAILED, f"{name} of {whose} is {value}, which is no number to compare"
    return value


def _listed(values: Mapping[str, Decimal]) -> str:
    if not values:
        return "it has no metrics"
    names = sorted(values)
    more = f" and {len(names) - _LISTED_METRICS} more" if len(names) > _LISTED_METRICS else ""
    return f"it has {', '.join(_cut(name, 60) for name in names[:_LISTED_METRICS])}{more}"


def _bounds(gate: Gate, name: str, value: Decimal) -> Judged:
    bounds = []
    passed = True
    if gate.min is not None:
        bounds.append(f"at least {gate.min}")
        passed = value >= Decimal(gate.min)
    if gate.max is not None:
        bounds.append(f"at most {gate.max}")
        passed = passed and value <= Decimal(gate.max)
    return _passed(passed), f"{name} is {value}, {' and '.join(bounds)} is wanted"


def _comparison(gate: Gate, stage: str, name: str, value: Decimal, evidence: Evidence) -> Judged:
    held = evidence.held.get(stage)
    if held is None:
        return GateVerdict.PASSED, f"{name} is {value}, and {stage} is empty: there is nothing to compare it with"
    if held.version == evidence.version.version:
        return GateVerdict.PASSED, f"{name} is {value}, and version {held.version} is itself in {stage}"
    if stage == evidence.stage and ASSIGNABLE[stage] in evidence.version.been_in:
        # It was good enough once. A comparison that forbids going back would hold a broken version in its stage.
        return GateVerdict.PASSED, f"{name} is {value}, and version {evidence.version.version} goes back to {stage}"
    whose = f"version {held.version} in {stage}"
    other = _value(name, whose, held.metrics)
    if not isinstance(other, Decimal):
        return other
    tolerance = Decimal(gate.tolerance or 0)
    if gate.goal is Goal.MINIMIZE:
        passed, worse = value <= other + tolerance, "more"
    else:
        passed, worse = value >= other - tolerance, "less"
    allowed = f"at most {tolerance} {worse}" if tolerance else f"no {worse}"
    return _passed(passed), f"{name} is {value}, {whose} has {other}, {allowed} is wanted"


def _from_stage(stage: str, evidence: Evidence) -> Judged:
    wanted = ASSIGNABLE[stage]
    held = evidence.held.get(stage)
    number = evidence.version.version
    if held is not None and held.version == number:
        return GateVerdict.PASSED, f"version {number} is in {wanted}"
    if wanted in evidence.version.been_in:
        return GateVerdict.PASSED, f"version {number} has been in {wanted}"
    return GateVerdict.FAILED, f"version {number} has not been in {wanted}"


def _approval(groups: Sequence[str], evidence: Evidence) -> Judged:
    named = " or ".join(groups)
    if evidence.approvals.problem is not None:
        verdict = GateVerdict.UNKNOWN if evidence.approvals.passing else GateVerdict.WAITING
        return verdict, f"approvals by {named} do not count: {evidence.approvals.problem}"
    found = _asked_for(evidence.approvals.given, groups, evidence)
    if found is not None:
        return GateVerdict.PASSED, f"approved by {found.spec.user} of {found.spec.group} ({found.metadata.name})"
    wanted = f"nobody of {named} has approved version {evidence.version.version} for {evidence.stage} yet"
    older = _asked_for(evidence.approvals.unproven, groups, evidence)
    if older is not None:
        wanted += f" ({older.metadata.name} is older than the admission policy and does not count: make it again)"
    return GateVerdict.WAITING, wanted


def _asked_for(approvals: Iterable[Approval], groups: Sequence[str], evidence: Evidence) -> Approval | None:
    """Return the oldest of the approvals that are of just this version, by one of the groups."""
    version = evidence.version
    about = (evidence.model, version.version, version.digest, evidence.stage)
    for approval in sorted(approvals, key=lambda approval: str(approval.metadata.creation_timestamp)):
        spec = approval.spec
        if (spec.model, spec.version, spec.digest, spec.stage) == about and spec.group in groups:
            return approval
    return None


def _signature(verdict: SignatureVerdict) -> Judged:
    if verdict.state is SignatureState.UNKNOWN:
        return GateVerdict.UNKNOWN, verdict.message
    return _passed(verdict.state is SignatureState.VALID), verdict.message


def _worst(verdicts: Sequence[Judged]) -> Judged:
    """Return one verdict for several, with all messages."""
    for verdict in (GateVerdict.FAILED, GateVerdict.UNKNOWN):
        if any(judged[0] is verdict for judged in verdicts):
            break
    else:
        verdict = GateVerdict.PASSED
    return verdict, "; ".join(message for _, message in verdicts)


def _passed(passed: bool) -> GateVerdict:
    return GateVerdict.PASSED if passed else GateVerdict.FAILED


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
