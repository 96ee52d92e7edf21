"""The MLflow client's edits of `spec`, worked out without any I/O.

They are a user's edits under the field manager `mlflow`. Fields that Git owns are left to Git.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.names import REPLACED_BECOMES_ANNOTATION
from modelyard.api.registeredmodel import ASSIGNABLE, RegisteredModel, Stage
from modelyard.decide.managers import owners_of
from modelyard.decide.registeredmodel import leaving_annotation, leaving_stages
from modelyard.registry.objects import RegistryError

Json = dict[str, Any]


class OwnedByGit(RegistryError):
    """The field belongs to a field manager that works for a Git repository."""


class StillInStage(RegistryError):
    """The version is in a stage although `spec.stages` names another one there."""


@dataclass(frozen=True)
class StageEdit:
    """A JSON merge patch of the object that asks for a stage; None where nothing of the spec is to be changed.

    `disinherit` names the keys of stages that an earlier object left to this one, and that are to be left now.
    """

    patch: Json | None
    disinherit: tuple[str, ...] = ()


def refuse_git(model: RegisteredModel, path: Sequence[str], what: str, git_managers: Iterable[str]) -> None:
    """Raise `OwnedByGit` where the field at `path` belongs to one of `git_managers`; `what` names it."""
    managers = set(git_managers)
    owner = next((owner for owner in owners_of(model.metadata.managed_fields, path) if owner in managers), None)
    if owner is not None:
        raise OwnedByGit(f"{what} of {model.model_name} is managed by {owner}: change it there")


def enter(
    model: RegisteredModel, version: int, stage: Stage, *, archive: bool, git_managers: Iterable[str]
) -> StageEdit:
    """Ask for `version` in Staging or Production; the version that it replaces becomes Archived or None.

    The version leaves the other stage, unless Git wants it there. Raises `OwnedByGit`.
    """
    key, other = _key(stage), _other(stage)
    stages: dict[str, int | None] = {}
    disinherit: tuple[str, ...] = ()
    if model.wanted_stages.get(key) != version:
        refuse_git(model, ("spec", "stages", key), key, git_managers)
        stages[key] = version
    if model.spec.stages.get(other) == version and not _git_owns(model, other, git_managers):
        stages[other] = None
    elif other not in model.spec.stages and model.wanted_stages.get(other) == version:
        disinherit = (other,)
    if not stages:
        return StageEdit(None, disinherit)
    leaving = _leaving(model)
    held = model.status.stages.get(key)
    if held is not None and held.version != version:
        leaving.pop((key, held.version), None)
        if not archive:
            leaving[key, held.version] = Stage.NONE
    return _edit(stages, leaving, disinherit)


def leave(model: RegisteredModel, version: int, stage: Stage, *, git_managers: Iterable[str]) -> StageEdit:
    """Ask that `version` leaves its stages for `stage`, Archived or None.

    The edit is None where the version is in no stage. Raises `OwnedByGit`, `StillInStage`.
    """
    wanted = [key for key, number in model.wanted_stages.items() if number == version]
    for key in wanted:
        refuse_git(model, ("spec", "stages", key), key, git_managers)
    held = [key for key, status in model.status.stages.items() if status.version == version]
    for key in held:
        if key not in wanted and key in model.wanted_stages:
            raise StillInStage(
                f"version {version} of {model.model_name} stays in {ASSIGNABLE[key]} until version "
                f"{model.wanted_stages[key]}, which spec.stages asks for, can take its place"
            )
    if not wanted:
        return StageEdit(None)
    leaving = _leaving(model)
    for key in wanted:
        leaving[key, version] = stage
    in_spec = [key for key in wanted if key in model.spec.stages]
    return _edit(dict.fromkeys(in_spec), leaving, tuple(key for key in wanted if key not in in_spec))


def _leaving(model: RegisteredModel) -> dict[tuple[str, int], Stage]:
    """Return what the annotation says of versions that are in those stages now; the rest of it is spent."""
    pairs = leaving_stages(model.metadata.annotations.get(REPLACED_BECOMES_ANNOTATION, ""))
    held = {(key, status.version) for key, status in model.status.stages.items()}
    return {pair: stage for pair, stage in pairs.items() if pair in held}


def _edit(
    stages: dict[str, int | None], leaving: dict[tuple[str, int], Stage], disinherit: tuple[str, ...]
) -> StageEdit:
    annotation = leaving_annotation(leaving) or None
    patch: Json = {"metadata": {"annotations": {REPLACED_BECOMES_ANNOTATION: annotation}}}
    if stages:
        patch["spec"] = {"stages": stages}
    return StageEdit(patch, disinherit)


def _git_owns(model: RegisteredModel, key: str, git_managers: Iterable[str]) -> bool:
    return bool(set(owners_of(model.metadata.managed_fields, ("spec", "stages", key))) & set(git_managers))


def _key(stage: Stage) -> str:
    return next(key for key, value in ASSIGNABLE.items() if value == stage)


def _other(stage: Stage) -> str:
    return next(key for key, value in ASSIGNABLE.items() if value != stage)
