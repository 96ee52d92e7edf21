"""Which version moves to which stage, and what the status says of it.

One version a stage. `spec.stages` says which is wanted; a version that is unknown or broken does not get there, and the
stage keeps the one it has. A version that both keys name is in both stages, and counts as Production. A version that
leaves becomes Archived, or what the annotation `REPLACED_BECOMES_ANNOTATION` says of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from modelyard.api.common import ConditionStatus
from modelyard.api.names import REPLACED_BECOMES_ANNOTATION, object_name
from modelyard.api.reasons import ConditionType, Reason
from modelyard.api.registeredmodel import ASSIGNABLE, RegisteredModel, RegisteredModelStatus, Stage, StageStatus
from modelyard.decide.conditions import Verdict, kstatus
from modelyard.decide.managers import last_editor, owner_of

STAGES = ("production", "staging")
"""The keys of `spec.stages`, the one that counts for more first."""

_LISTED_VERSIONS = 10


@dataclass(frozen=True)
class Fault:
    """Why a version cannot be promoted (or, in a stage, is not what was registered)."""

    reason: Reason
    message: str
    passing: bool = False
    """True where it may go away by itself, and the version is only not known to be good."""


Checks = Mapping[int, Fault | None]
"""What verifying the artifacts found, for every version of `to_verify`; None where all is well."""


@dataclass(frozen=True)
class Move:
    """One version's change of stage, and the field manager that asked for it."""

    version: int
    from_: Stage
    to: Stage
    by: str


@dataclass(frozen=True)
class StageChange:
    """All that one step changes: the stages as they are after it, and the versions that move."""

    stages: dict[str, StageStatus]
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Decision:
    """The change to record, if any, and the conditions that hold after it."""

    change: StageChange | None
    verdicts: tuple[Verdict, ...]


@dataclass
class _Problems:
    faults: list[Fault] = field(default_factory=list)

    def add(self, reason: Reason, message: str, *, passing: bool = False) -> None:
        self.faults.append(Fault(reason, message, passing))


def precise_timestamp(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC with milliseconds, which is what MLflow's clients see."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_verify(model: RegisteredModel) -> frozenset[int]:
    """Return the versions whose artifacts the decision depends on: those wanted in a stage, and those in one."""
    known = {version.version for version in model.status.versions}
    wanted = set(model.spec.stages.values()) | {stage.version for stage in model.status.stages.values()}
    return frozenset(wanted & known)


def decide(model: RegisteredModel, checks: Checks, now: datetime) -> Decision:
    """Work out the next change of stages and the conditions. `checks` has an entry for each of `to_verify(model)`."""
    problems = _Problems()
    if model.metadata.name != object_name(model.model_name):
        problems.add(
            Reason.INVALID_SPEC,
            f"spec.name: MLflow looks for {model.model_name!r} in an object named {object_name(model.model_name)!r}, "
            f"not {model.metadata.name!r}; create it under that name",
        )
    target = _target(model, checks, problems)
    _check_aliases(model, problems)
    change = None
    if target != {key: stage.version for key, stage in model.status.stages.items()}:
        change = _change(model, target, now)
    return Decision(change, _verdicts(model, target, problems.faults))


def _target(model: RegisteredModel, checks: Checks, problems: _Problems) -> dict[str, int]:
    """Return the version that each stage is to hold now."""
    known = {version.version for version in model.status.versions}
    target, refused = {}, set()
    for key in STAGES:
        wanted, held = model.spec.stages.get(key), model.status.stages.get(key)
        if wanted is None:
            continue
        if held is not None and held.version == wanted:
            target[key] = wanted
        elif wanted not in known:
            problems.add(Reason.VERSION_NOT_FOUND, f"spec.stages.{key}: {_no_version(wanted, known)}")
        elif fault := checks[wanted]:
            stays = f"{key} stays at version {held.version}" if held else f"{key} stays empty"
            problems.add(
                fault.reason,
                f"spec.stages.{key}: version {wanted} is not promoted: {fault.message}; {stays}",
                passing=fault.passing,
            )
            refused.add(wanted)
        else:
            target[key] = wanted
        if key not in target and held is not None:
            target[key] = held.version
        # Not reaching the store now says nothing against a version that was good when it was promoted.
        if held and target.get(key) == held.version and (fault := checks.get(held.version)) and not fault.passing:
            problems.add(fault.reason, f"version {held.version} is in {key}, but {fault.message}")
    for key, stage in model.status.stages.items():
        if key not in model.spec.stages and stage.version in refused:
            # It was to move to the other stage and cannot: it does not lose the one it has.
            target[key] = stage.version
    return target


def _check_aliases(model: RegisteredModel, problems: _Problems) -> None:
    known = {version.version for version in model.status.versions}
    for alias, version in sorted(model.spec.aliases.items()):
        if version not in known:
            problems.add(Reason.VERSION_NOT_FOUND, f"spec.aliases.{alias}: {_no_version(version, known)}")


def _no_version(wanted: int, known: set[int]) -> str:
    if not known:
        return f"there is no version {wanted}; no version is registered yet"
    if len(known) > _LISTED_VERSIONS:
        return f"there is no version {wanted}; the newest is {max(known)}"
    if len(known) == 1:
        return f"there is no version {wanted}; the only one is {min(known)}"
    return f"there is no version {wanted}; the versions are {', '.join(str(version) for version in sorted(known))}"


def _change(model: RegisteredModel, target: Mapping[str, int], now: datetime) -> StageChange:
    at = precise_timestamp(now)
    held = {key: stage.version for key, stage in model.status.stages.items()}
    managed = model.metadata.managed_fields
    stages = {}
    for key in STAGES:
        if key in target:
            unchanged = held.get(key) == target[key]
            by = owner_of(managed, ("spec", "stages", key))
            stages[key] = (
                model.status.stages[key] if unchanged else StageStatus(version=target[key], since=at, by=by[:128])
            )
    labels = {version.version: version.stage for version in model.status.versions}
    moves = []
    for version in _in_order(target, held):
        before, after = labels.get(version, Stage.NONE), _label(model, version, target, held)
        if before != after:
            moves.append(Move(version, before, after, _moved_by(model, version, target, held)[:128]))
    return StageChange(stages, tuple(moves))


def _in_order(target: Mapping[str, int], held: Mapping[str, int]) -> list[int]:
    """Return the versions that may move: first those that enter, then those that leave."""
    entering = [target[key] for key in STAGES if key in target]
    leaving = [held[key] for key in STAGES if key in held]
    return list(dict.fromkeys([*entering, *leaving]))


def _label(model: RegisteredModel, version: int, target: Mapping[str, int], held: Mapping[str, int]) -> Stage:
    """Return MLflow's one stage of a version that is in a stage now, or was before."""
    for key in STAGES:
        if target.get(key) == version:
            return ASSIGNABLE[key]
    becomes = leaving_stages(model.metadata.annotations.get(REPLACED_BECOMES_ANNOTATION, ""))
    left = next(key for key in STAGES if held.get(key) == version)
    return becomes.get((left, version), Stage.ARCHIVED)


def _moved_by(model: RegisteredModel, version: int, target: Mapping[str, int], held: Mapping[str, int]) -> str:
    managed = model.metadata.managed_fields
    key = next((key for key in STAGES if target.get(key) == version), None)
    if key is None:
        key = next(key for key in STAGES if held.get(key) == version)
        if key not in target:
            # Nobody owns a field that is gone: the MLflow client leaves its name in the annotation.
            annotation = model.metadata.annotations.get(REPLACED_BECOMES_ANNOTATION, "")
            if (key, version) in leaving_stages(annotation):
                return owner_of(managed, ("metadata", "annotations", REPLACED_BECOMES_ANNOTATION))
            return last_editor(managed)
    return owner_of(managed, ("spec", "stages", key))


def _verdicts(model: RegisteredModel, target: Mapping[str, int], faults: list[Fault]) -> tuple[Verdict, ...]:
    if faults:
        message = "; ".join(dict.fromkeys(fault.message for fault in faults))
        verdict = Verdict(ConditionType.READY, ConditionStatus.FALSE, faults[0].reason, message)
        progressing = any(fault.passing for fault in faults)
        return kstatus(verdict, progressing=progressing, stalled=not progressing)
    if not model.status.versions:
        # A model that Git declares before anything is trained is as wanted: nothing is to be waited for.
        return (Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.NO_VERSIONS, "no version is registered yet"),)
    holds = [f"{key} holds version {target[key]}" for key in STAGES if key in target]
    message = "; ".join(holds) or "spec.stages names no version"
    return (Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.AS_WANTED, message),)


def unreachable(status: RegisteredModelStatus, message: str) -> tuple[Verdict, ...]:
    """Return the conditions for a model whose records cannot be read; what was known of it stays."""
    known = "" if status.versions else "the versions are not known yet: "
    verdict = Verdict(
        ConditionType.READY, ConditionStatus.FALSE, Reason.ARTIFACT_STORE_UNREACHABLE, f"{known}{message}"
    )
    return kstatus(verdict, progressing=True, stalled=False)


def leaving_stages(annotation: str) -> dict[tuple[str, int], Stage]:
    """Read `<key of spec.stages>=<version>:<stage>` pairs, comma-separated: what a version becomes that leaves a stage.

    A pair that cannot be read is passed over: the version then becomes Archived.
    """
    result = {}
    for pair in annotation.split(","):
        key, _, rest = pair.strip().partition("=")
        version, _, stage = rest.partition(":")
        if key in ASSIGNABLE and version.isdecimal() and stage in (Stage.NONE, Stage.ARCHIVED):
            result[key, int(version)] = Stage(stage)
    return result


def leaving_annotation(stages: Mapping[tuple[str, int], Stage]) -> str:
    """Write what `leaving_stages` reads."""
    return ",".join(f"{key}={version}:{stage}" for (key, version), stage in sorted(stages.items()))


def canonical(models: Iterable[RegisteredModel]) -> list[RegisteredModel]:
    """Return the models that MLflow can find: those in an object of the right name."""
    return [model for model in models if model.metadata.name == object_name(model.model_name)]
