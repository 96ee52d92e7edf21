"""Registers the versions that `spec.versions` declares, so that Git alone fills a registry."""

from __future__ import annotations

from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import DeclaredVersion, RegisteredModel
from modelyard.artifacts.store import ArtifactMissing
from modelyard.decide.managers import owner_of
from modelyard.decide.registeredmodel import Fault
from modelyard.records.events import VersionEdited
from modelyard.records.state import ModelState, VersionState
from modelyard.registry.objects import NumberTaken
from modelyard.registry.registry import Candidate, Registry


class DeclaredVersions:
    """Follows `spec.versions`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, model: RegisteredModel, state: ModelState) -> tuple[ModelState, tuple[Fault, ...]]:
        """Register what is declared and not registered yet, and keep its description and tags as declared."""
        faults = []
        by = owner_of(model.metadata.managed_fields, ("spec", "versions"))[:128]
        for declared in sorted(model.spec.versions, key=lambda declared: declared.version):
            known = state.versions.get(declared.version)
            if known is None:
                try:
                    state = self._registry.register_numbered(model, _candidate(declared, by), declared.version)
                except NumberTaken:
                    message = f"numbers up to {state.latest_version} are taken: declare a higher one"
                    faults.append(Fault(Reason.DECLARATION_CONFLICT, f"{_field(declared)}: {message}"))
                except ArtifactMissing as error:
                    faults.append(Fault(Reason.ARTIFACT_MISSING, f"{_field(declared)}.source: {error}"))
            elif known.deleted:
                message = "the version was deleted: take it out of spec.versions"
                faults.append(Fault(Reason.DECLARATION_CONFLICT, f"{_field(declared)}: {message}"))
            elif known.artifact != declared.source.rstrip("/"):
                message = f"the version is registered from {known.artifact}: declare another number"
                faults.append(Fault(Reason.DECLARATION_CONFLICT, f"{_field(declared)}.source: {message}"))
            elif edit := _edit(declared, known, by):
                state = self._registry.record(model, state, edit)
        return state, tuple(faults)


def _field(declared: DeclaredVersion) -> str:
    return f"spec.versions[version={declared.version}]"


def _candidate(declared: DeclaredVersion, by: str) -> Candidate:
    return Candidate(
        source=declared.source,
        artifact=declared.source.rstrip("/"),
        created_by=by,
        description=declared.description,
        tags=declared.tags,
        metrics=declared.metrics,
    )


def _edit(declared: DeclaredVersion, known: VersionState, by: str) -> VersionEdited | None:
    """Return what makes the version's description and tags those that are declared; other tags stay."""
    description = known.description if declared.description is None else declared.description
    tags = {**known.tags, **declared.tags}
    if (description, tags) == (known.description, known.tags):
        return None
    return VersionEdited(by=by, version=known.version, description=description, tags=tags)
