"""Which version moves to which stage, and what the status says of it.

One version a stage. `spec.stages` says which is wanted; a version that is unknown, broken or refused by a gate does not
get there, and the stage keeps the one it has. A version that both keys name is in both stages, and counts as
Production. A version that leaves becomes Archived, or what the annotation `REPLACED_BECOMES_ANNOTATION` says of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from modelyard.api.common import ConditionStatus
from modelyard.api.model_status import InheritedStatus, RegisteredModelStatus, StageStatus
from modelyard.api.names import REPLACED_BECOMES_ANNOTATION, editor_annotation, object_name
from modelyard.api.reasons import ConditionType, Reason
from modelyard.api.registeredmodel import ASSIGNABLE, STAGE_KEYS, RegisteredModel, Stage
from modelyard.decide.conditions import Verdict, kstatus
from modelyard.decide.managers import last_editor, owner_of
from modelyard.records.events import MoveRecord, StageGates, StagesChanged
from modelyard.records.state import ModelState

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

Gated = Mapping[str, Fault | StageGates]
"""By key of `spec.stages`, for every stage of `to_judge`: why the gates keep the version out, or what it passed."""


@dataclass(frozen=True)
class Decision:
    """The change to record, if any, and the conditions that hold after it."""

    change: StagesChanged | None
    verdicts: tuple[Verdict, ...]


@dataclass
class _Problems:
    faults: list[Fault] = field(default_factory=list)

    def add(self, reason: Reason, message: str, *, passing: bool = False) -> None:
        self.faults.append(Fault(reason, message, passing))


def precise_timestamp(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC with milliseconds, which is what MLflow's clients see."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def inherited(model: RegisteredModel, state: ModelState) -> InheritedStatus | None:
    """Return what an earlier object of this name had and this one's spec does not name; None for nothing."""
    if model.status.observed_generation is None:
        before = InheritedStatus(
            stages={key: held.version for key, held in state.stages.items()},
            aliases=state.aliases,
            tags=state.tags,
            description=state.description,
        )
    else:
        before = model.status.inherited or InheritedStatus()
    left = InheritedStatus(
        stages={key: version for key, version in before.stages.items() if key not in model.spec.stages},
        aliases={alias: version for alias, version in before.aliases.items() if alias not in model.spec.aliases},
        tags={key: value for key, value in before.tags.items() if key not in model.spec.tags},
        description=before.description if model.spec.description is None else None,
    )
    return None if left.is_empty else left


def to_verify(model: RegisteredModel, state: ModelState) -> frozenset[int]:
    """Return the versions whose files are relied on: those that a stage or alias asks for, and those in a stage."""
    wanted = set(model.wanted_stages.values()) | set(model.aliases.values())
    wanted |= {stage.version for stage in state.stages.values()}
    return frozenset(number for number in wanted if state.find(number))


def to_judge(model: RegisteredModel, state: ModelState, checks: Checks) -> dict[str, int]:
    """Return the stages (by key) that a sound version is to enter, and that version."""
    entering = {}
    for key, wanted in model.wanted_stages.items():
        held = state.stages.get(key)
        if state.find(wanted) and (held is None or held.version != wanted) and not checks.get(wanted):
            entering[key] = wanted
    return entering


def decide(
    model: RegisteredModel,
    state: ModelState,
    checks: Checks,
    gated: Gated,
    now: datetime,
    *,
    faults: Iterable[Fault] = (),
) -> Decision:
    """Work out the next change of stages and the conditions.

    `checks` has an entry for each of `to_verify`, `gated` for each of `to_judge` whose stage has gates; `faults` is
    what else is to be mended.
    """
    problems = _Problems([*faults])
    if model.metadata.name != object_name(model.model_name):
        problems.add(
            Reason.INVALID_SPEC,
            f"spec.name: MLflow looks for {model.model_name!r} in an object named {object_name(model.model_name)!r}, "
            f"not {model.metadata.name!r}; create it under that name",
        )
    target = _target(model, state, checks, gated, problems)
    _check_aliases(model, state, checks, problems)
    change = None
    if target != {key: stage.version for key, stage in state.stages.items()}:
        change = _change(model, state, target, gated, now)
    return Decision(change, _verdicts(state, target, problems.faults))


def _target(
    model: RegisteredModel, state: ModelState, checks: Checks, gated: Gated, problems: _Problems
) -> dict[str, int]:
    """Return the version that each stage is to hold now."""
    wishes = model.wanted_stages
    target, refused = {}, set()
    for key in STAGE_KEYS:
        wanted, held = wishes.get(key), state.stages.get(key)
        if wanted is None:
            continue
        if held is not None and held.version == wanted:
            target[key] = wanted
        elif not state.find(wanted):
            problems.add(Reason.VERSION_NOT_FOUND, f"spec.stages.{key}: {_no_version(wanted, state)}")
        elif fault := _fault(key, wanted, checks, gated):
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
    for key, stage in state.stages.items():
        if key not in wishes and stage.version in refused:
            # It was to move to the other stage and cannot: it does not lose the one it has.
            target[key] = stage.version
    return target


def _fault(key: str, wanted: int, checks: Checks, gated: Gated) -> Fault | None:
    fault, verdict = checks[wanted], gated.get(key)
    return fault or (verdict if isinstance(verdict, Fault) else None)


def _check_aliases(model: RegisteredModel, state: ModelState, checks: Checks, problems: _Problems) -> None:
    in_stage = {stage.version for stage in state.stages.values()} | set(model.wanted_stages.values())
    for alias, version in sorted(model.aliases.items()):
        if not state.find(version):
            problems.add(Reason.VERSION_NOT_FOUND, f"spec.aliases.{alias}: {_no_version(version, state)}")
        elif version not in in_stage and (fault := checks[version]) and not fault.passing:
            problems.add(fault.reason, f"version {version} has the alias {alias}, but {fault.message}")


def _no_version(wanted: int, state: ModelState) -> str:
    known = [version.version for version in state.shown]
    if wanted in state.versions:
        return f"version {wanted} was deleted"
    if not known:
        return f"there is no version {wanted}; no version is registered yet"
    if len(known) > _LISTED_VERSIONS:
        return f"there is no version {wanted}; the newest is {max(known)}"
    if len(known) == 1:
        return f"there is no version {wanted}; the only one is {min(known)}"
    return f"there is no version {wanted}; the versions are {', '.join(str(version) for version in known)}"


def _change(
    model: RegisteredModel, state: ModelState, target: Mapping[str, int], gated: Gated, now: datetime
) -> StagesChanged:
    at = precise_timestamp(now)
    held = {key: stage.version for key, stage in state.stages.items()}
    managed = model.metadata.managed_fields
    stages = {}
    for key in STAGE_KEYS:
        if key in target:
            unchanged = held.get(key) == target[key]
            by = owner_of(managed, ("spec", "stages", key))[:128]
            stages[key] = (
                state.stages[key]
                if unchanged
                else StageStatus(version=target[key], since=at, by=by, user=_user(model, key))
            )
    moves = []
    for version in _in_order(target, held):
        found = state.versions.get(version)
        before, after = found.stage if found else Stage.NONE, _label(model, version, target, held)
        if before != after:
            key = _key_of_move(version, target, held)
            by = _moved_by(model, version, key, target)[:128]
            moves.append(MoveRecord(version=version, from_=before, to=after, by=by, user=_user(model, key)))
    entered = [key for key in stages if held.get(key) != target[key]]
    passed = tuple(gates for key in entered if isinstance(gates := gated.get(key), StageGates))
    by = moves[0].by if moves else last_editor(managed)[:128]
    user = moves[0].user if moves else None
    return StagesChanged(by=by, user=user, at=at, stages=stages, moves=tuple(moves), gates=passed)


def _in_order(target: Mapping[str, int], held: Mapping[str, int]) -> list[int]:
    """Return the versions that may move: first those that enter, then those that leave."""
    entering = [target[key] for key in STAGE_KEYS if key in target]
    leaving = [held[key] for key in STAGE_KEYS if key in held]
    return list(dict.fromkeys([*entering, *leaving]))


def _label(model: RegisteredModel, version: int, target: Mapping[str, int], held: Mapping[str, int]) -> Stage:
    """Return MLflow's one stage of a version that is in a stage now, or was before."""
    for key in STAGE_KEYS:
        if target.get(key) == version:
            return ASSIGNABLE[key]
    becomes = leaving_stages(model.metadata.annotations.get(REPLACED_BECOMES_ANNOTATION, ""))
    left = next(key for key in STAGE_KEYS if held.get(key) == version)
    return becomes.get((left, version), Stage.ARCHIVED)


def _key_of_move(version: int, target: Mapping[str, int], held: Mapping[str, int]) -> str:
    """Return the key of the stage that a version enters or, where it enters none, leaves."""
    entered = (key for key in STAGE_KEYS if target.get(key) == version)
    return next(entered, None) or next(key for key in STAGE_KEYS if held.get(key) == version)


def _moved_by(model: RegisteredModel, version: int, key: str, target: Mapping[str, int]) -> str:
    managed = model.metadata.managed_fields
    if key not in target:
        # Nobody owns a field that is gone: the MLflow client leaves its name in the annotation.
        annotation = model.metadata.annotations.get(REPLACED_BECOMES_ANNOTATION, "")
        if (key, version) in leaving_stages(annotation):
            return owner_of(managed, ("metadata", "annotations", REPLACED_BECOMES_ANNOTATION))
        return last_editor(managed)
    return owner_of(managed, ("spec", "stages", key))


def asked_by(model: RegisteredModel, key: str) -> tuple[str, str | None]:
    """Return the field manager that asks for the version in a stage, and the user where admission names one."""
    return owner_of(model.metadata.managed_fields, ("spec", "stages", key))[:128], _user(model, key)


def _user(model: RegisteredModel, key: str) -> str | None:
    """Return the user that admission wrote down for the newest edit of a stage."""
    return model.metadata.annotations.get(editor_annotation(key), "")[:253] or None


def _verdicts(state: ModelState, target: Mapping[str, int], faults: list[Fault]) -> tuple[Verdict, ...]:
    if faults:
        message = "; ".join(dict.fromkeys(fault.message for fault in faults))
        verdict = Verdict(ConditionType.READY, ConditionStatus.FALSE, faults[0].reason, message)
        progressing = any(fault.passing for fault in faults)
        return kstatus(verdict, progressing=progressing, stalled=not progressing)
    if not state.shown:
        # A model that Git declares before anything is trained is as wanted: nothing is to be waited for.
        return (Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.NO_VERSIONS, "no version is registered yet"),)
    holds = [f"{key} holds version {target[key]}" for key in STAGE_KEYS if key in target]
    message = "; ".join(holds) or "spec.stages names no version"
    return (Verdict(ConditionType.READY, ConditionStatus.TRUE, Reason.AS_WANTED, message),)


def unreachable(status: RegisteredModelStatus, message: str) -> tuple[Verdict, ...]:
    """Return the conditions for a model whose records cannot be read; what was known of it stays."""
    known = "" if status.versions else "the versions are not known yet: "
    verdict = Verdict(
        ConditionType.READY, ConditionStatus.FALSE, Reason.ARTIFACT_STORE_UNREACHABLE, f"{known}{message}"
    )
    return kstatus(verdict, progressing=True, stalled=False)


def altered(message: str) -> tuple[Verdict, ...]:
    """Return the conditions for a model whose records were changed or removed."""
    verdict = Verdict(
        ConditionType.READY, ConditionStatus.FALSE, Reason.RECORDS_ALTERED, f"{message}; nothing is promoted"
    )
    return kstatus(verdict, progressing=False, stalled=True)


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
