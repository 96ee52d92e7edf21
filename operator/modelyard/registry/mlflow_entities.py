"""RegisteredModels as MLflow's entities."""

# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModelAlias,
    RegisteredModelTag,
)
from mlflow.entities.model_registry import RegisteredModel as MlflowModel

from modelyard.api.registeredmodel import ASSIGNABLE, RegisteredModel, Stage
from modelyard.records.state import ModelState, VersionState


def milliseconds(timestamp: str | None) -> int:
    """Return an RFC 3339 time as milliseconds since the epoch, as MLflow has them; 0 for none."""
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000) if timestamp else 0


def updated_at(model: RegisteredModel, state: ModelState) -> int:
    """Return when the model's description, its versions or their stages changed last, in milliseconds."""
    return max(_created(model, state), milliseconds(state.updated_at))


def model_version(model: RegisteredModel, version: VersionState, *, with_aliases: bool = True) -> ModelVersion:
    """Return one version as MLflow shows it. Versions are registered complete, so the status is READY.

    MLflow's searches, and the latest versions that it shows with a model, are without aliases.
    """
    aliases = sorted(alias for alias, number in model.aliases.items() if number == version.version)
    return ModelVersion(
        name=model.model_name,
        # A number, as in MLflow's own stores.
        version=version.version,  # type: ignore[arg-type]
        creation_timestamp=milliseconds(version.created_at),
        last_updated_timestamp=milliseconds(version.updated_at or version.created_at),
        description=version.description,
        user_id=version.created_by,
        current_stage=str(version.stage),
        source=version.source,
        run_id=version.run_id,
        run_link=version.run_link,
        tags=[ModelVersionTag(key, value) for key, value in version.tags.items()],
        aliases=aliases if with_aliases else [],
        model_id=version.model_id,
    )


def registered_model(model: RegisteredModel, state: ModelState) -> MlflowModel:
    """Return a model as MLflow shows it, with the latest version of every stage."""
    latest = latest_versions(state, list(Stage))
    return MlflowModel(
        name=model.model_name,
        creation_timestamp=_created(model, state),
        last_updated_timestamp=updated_at(model, state),
        description=model.description,
        latest_versions=[model_version(model, version, with_aliases=False) for version in latest],
        tags=[RegisteredModelTag(key, value) for key, value in model.tags.items()],
        aliases=[RegisteredModelAlias(alias, number) for alias, number in sorted(model.aliases.items())],
    )


def latest_versions(state: ModelState, stages: Iterable[Stage]) -> list[VersionState]:
    """Return the latest version of each stage, those without one left out, none twice.

    Staging and Production hold what `status.stages` says: a version that is in both counts as Production, and is still
    what `models:/<name>/Staging` stands for.
    """
    newest: dict[Stage, VersionState] = {version.stage: version for version in state.shown}
    for key, stage in ASSIGNABLE.items():
        held = state.stages.get(key)
        if held and (version := state.find(held.version)):
            newest[stage] = version
    found = [newest[stage] for stage in dict.fromkeys(stages) if stage in newest]
    return list({version.version: version for version in found}.values())


def _created(model: RegisteredModel, state: ModelState) -> int:
    return milliseconds(state.created_at or model.metadata.creation_timestamp)
