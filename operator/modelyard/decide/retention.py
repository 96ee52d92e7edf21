"""Which archived versions lose their files, and why each of the others keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.registeredmodel import RegisteredModel, Retention, Stage
from modelyard.records.events import PurgeStep
from modelyard.records.state import ModelState, VersionState

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class RetentionPlan:
    """Versions by number, each with the reason: those whose files go, and those that were archived and keep them."""

    purge: Mapping[int, str]
    keep: Mapping[int, str]


@dataclass(frozen=True)
class Surroundings:
    """What else counts: the store's own directory of artifacts, and what others rely on.

    `served` are versions that ModelDeployments name by number, `elsewhere` the directories of other models' versions.
    """

    artifacts_destination: str
    served: frozenset[int] = frozenset()
    elsewhere: frozenset[str] = frozenset()


def served_by_number(model: RegisteredModel, deployments: Iterable[ModelDeployment]) -> frozenset[int]:
    """Return the versions of the model that ModelDeployments of its namespace name by number."""
    return frozenset(
        deployment.spec.model.version
        for deployment in deployments
        if deployment.spec.model.name == model.model_name and deployment.spec.model.version
    )


def directories(state: ModelState) -> frozenset[str]:
    """Return the directories in which a model's versions have their files still."""
    versions = state.versions.values()
    return frozenset(each.artifact for each in versions if each.artifact and each.purge != PurgeStep.DELETED)


def prepared_directories(state: ModelState, number: int) -> frozenset[str]:
    """Return the keys below which something was made for serving a version, unless another one uses it, too."""
    others = (each for each in state.versions.values() if each.version != number and each.purge != PurgeStep.DELETED)
    return frozenset(state.versions[number].prepared_in) - {key for each in others for key in each.prepared_in}


def duration(text: str) -> timedelta:
    """Return what `12h`, `180d` or `26w` stands for."""
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def plan(
    model: RegisteredModel, state: ModelState, retention: Retention, around: Surroundings, now: datetime
) -> RetentionPlan:
    """Work out whose files are to be deleted by `retention`: those archived too long ago, and all but the newest.

    A version in a stage, under an alias, wanted in either, declared in the spec or served by its number keeps its
    files, and so does one whose files another version shares or that are not in the installation's own store.
    """
    purge: dict[int, str] = {}
    keep: dict[int, str] = {}
    archived = sorted(filter(_may_go, state.versions.values()), key=_archived_at, reverse=True)
    place = 0
    for version in archived:
        if why := _relied_on(model, state, version, around):
            keep[version.version] = why
            continue
        place += 1
        why = _too_many_or_too_old(version, place, retention, now)
        if why:
            purge[version.version] = why
        else:
            keep[version.version] = "spec.retention keeps it"
    for number in list(purge):
        # Files that two versions share stay as long as one of them keeps them.
        if sharing := _sharing(state, number, purge):
            keep[number] = f"version {sharing} has the same files"
            del purge[number]
    return RetentionPlan(purge, keep)


def _may_go(version: VersionState) -> bool:
    gone = version.purge == PurgeStep.DELETED or not version.artifact
    return not gone and (version.deleted or version.stage == Stage.ARCHIVED)


def _archived_at(version: VersionState) -> str:
    return version.archived_at or version.updated_at or version.created_at


def _relied_on(model: RegisteredModel, state: ModelState, version: VersionState, around: Surroundings) -> str | None:
    number = version.version
    reasons = (
        *((held.version == number, f"it is in {key}") for key, held in state.stages.items()),
        *((wanted == number, f"spec.stages.{key} asks for it") for key, wanted in model.wanted_stages.items()),
        *((wanted == number, f"it has the alias {alias}") for alias, wanted in model.aliases.items()),
        *((declared.version == number, "spec.versions declares it") for declared in model.spec.versions),
        (number in around.served, "a ModelDeployment serves it by its number"),
        (
            not _within(version.artifact, around.artifacts_destination),
            f"its files are not below {around.artifacts_destination}",
        ),
        (
            any(_overlap(version.artifact, other) for other in around.elsewhere),
            "another model has a version with the same files",
        ),
    )
    return next((why for holds, why in reasons if holds), None)


def _too_many_or_too_old(version: VersionState, place: int, retention: Retention, now: datetime) -> str | None:
    if retention.archived is not None and place > retention.archived:
        return f"{retention.archived} archived versions are newer"
    if retention.max_age is not None:
        age = now - datetime.fromisoformat(_archived_at(version))
        if age > duration(retention.max_age):
            return f"it was archived {age.days} days ago, more than {retention.max_age}"
    return None


def _sharing(state: ModelState, number: int, purge: Iterable[int]) -> int | None:
    artifact = state.versions[number].artifact
    going = set(purge)
    for other in state.versions.values():
        stays = other.version not in going and other.purge != PurgeStep.DELETED
        if stays and other.artifact and _overlap(artifact, other.artifact):
            return other.version
    return None


def _overlap(one: str, other: str) -> bool:
    return _within(one, other) or _within(other, one)


def _within(uri: str, directory: str) -> bool:
    return f"{uri.rstrip('/')}/".startswith(f"{directory.rstrip('/')}/")
