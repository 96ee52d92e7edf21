"""The bounded view of a state that an object's status holds."""

from __future__ import annotations

from modelyard.api.model_status import RecordsStatus, RegisteredModelStatus, VersionStatus
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.records.state import ModelState, VersionState

NEWEST_SHOWN = 50
BYTES_SHOWN = 128 << 10
"""How much of `status.versions` may be there for being new; those in a stage or under an alias come on top."""

_FIELDS = tuple(VersionStatus.model_fields)


def view(model: RegisteredModel, state: ModelState) -> RegisteredModelStatus:
    """Return the object's status with what the state says; what only the operator knows stays as it is."""
    if state.sequence == model.status.records.sequence and state.digest == model.status.records.digest:
        return model.status
    return model.status.model_copy(
        update={
            "latest_version": state.latest_version,
            "version_count": len(state.shown),
            "stages": state.stages,
            "versions": shown_versions(model, state),
            "records": RecordsStatus(sequence=state.sequence, digest=state.digest),
            "transitions": state.transitions,
        }
    )


def shown_versions(model: RegisteredModel, state: ModelState) -> tuple[VersionStatus, ...]:
    """Return the versions that a status shows, by number: those that somebody asks for, and the newest."""
    asked_for = {held.version for held in state.stages.values()}
    asked_for |= set(model.wanted_stages.values()) | set(model.aliases.values())
    kept = {number: _status_of(version) for number in asked_for if (version := state.find(number))}
    room = BYTES_SHOWN
    for version in state.shown[-NEWEST_SHOWN:][::-1]:
        shown = _status_of(version)
        room -= len(shown.model_dump_json(by_alias=True, exclude_none=True))
        if room < 0:
            break
        kept[version.version] = shown
    return tuple(kept[number] for number in sorted(kept))


def _status_of(version: VersionState) -> VersionStatus:
    return VersionStatus.model_construct(**{name: getattr(version, name) for name in _FIELDS})
