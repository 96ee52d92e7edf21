"""RegisteredModels as MLflow's entities, and MLflow's searches over them."""

# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModelAlias,
    RegisteredModelTag,
)
from mlflow.entities.model_registry import RegisteredModel as MlflowModel
from mlflow.exceptions import MlflowException
from mlflow.prompt.registry_utils import add_prompt_filter_string
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry import (
    SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD,
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD,
)
from mlflow.utils.search_utils import SearchModelUtils, SearchModelVersionUtils, SearchUtils

from modelyard.api.registeredmodel import ASSIGNABLE, RegisteredModel, Stage
from modelyard.decide.managers import last_edit
from modelyard.records.state import ModelState, VersionState

_NEWEST_FIRST = ["last_updated_timestamp DESC", "name ASC", "version_number DESC"]


def milliseconds(timestamp: str | None) -> int:
    """Return an RFC 3339 time as milliseconds since the epoch, as MLflow has them; 0 for none."""
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000) if timestamp else 0


def model_version(model: RegisteredModel, version: VersionState) -> ModelVersion:
    """Return one version as MLflow shows it. Versions are registered complete, so the status is READY."""
    return ModelVersion(
        name=model.model_name,
        # A number, as in MLflow's own stores: its searches compare it.
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
        aliases=sorted(alias for alias, number in model.aliases.items() if number == version.version),
        model_id=version.model_id,
    )


def registered_model(model: RegisteredModel, state: ModelState) -> MlflowModel:
    """Return a model as MLflow shows it, with the latest version of every stage."""
    updates = [version.updated_at or version.created_at for version in state.shown]
    times = [
        milliseconds(time) for time in (model.metadata.creation_timestamp, last_edit(model.metadata.managed_fields))
    ]
    times += [milliseconds(max(updates, default=None))]
    return MlflowModel(
        name=model.model_name,
        creation_timestamp=milliseconds(model.metadata.creation_timestamp),
        last_updated_timestamp=max(times),
        description=model.description,
        latest_versions=[model_version(model, version) for version in latest_versions(state, list(Stage))],
        tags=[RegisteredModelTag(key, value) for key, value in model.tags.items()],
        aliases=[RegisteredModelAlias(alias, str(number)) for alias, number in sorted(model.aliases.items())],
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


def search_models(
    models: Iterable[tuple[RegisteredModel, ModelState]],
    filter_string: str | None,
    max_results: int | None,
    order_by: list[str] | None,
    page_token: str | None,
) -> PagedList:
    """Return a page of models, by MLflow's own filter and order."""
    _check_max_results(max_results, SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD)
    found = SearchModelUtils.filter(
        [registered_model(model, state) for model, state in models],
        add_prompt_filter_string(filter_string, is_prompt=False),
    )
    return _page(SearchModelUtils.sort(found, order_by), max_results, page_token)


def search_versions(
    models: Iterable[tuple[RegisteredModel, ModelState]],
    filter_string: str | None,
    max_results: int | None,
    order_by: list[str] | None,
    page_token: str | None,
) -> PagedList:
    """Return a page of the models' versions, by MLflow's own filter and order; the newest first if none is given."""
    _check_max_results(max_results, SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD)
    versions = [model_version(model, version) for model, state in models for version in state.shown]
    found = SearchModelVersionUtils.filter(versions, add_prompt_filter_string(filter_string, is_prompt=False))
    return _page(SearchModelVersionUtils.sort(found, order_by or _NEWEST_FIRST), max_results, page_token)


def searched_name(filter_string: str | None) -> str | None:
    """Return the one model name that the filter of a search for versions asks for, if it does."""
    clauses = SearchModelVersionUtils.parse_search_filter(filter_string)
    names = [clause["value"] for clause in clauses if clause["key"] == "name" and clause["comparator"] == "="]
    return str(names[0]) if len(names) == 1 else None


def _page(found: list[Any], max_results: Any, page_token: str | None) -> PagedList:
    start = SearchUtils.parse_start_offset_from_page_token(page_token)
    end = start + max_results
    return PagedList(found[start:end], SearchUtils.create_page_token(end) if end < len(found) else None)


def _check_max_results(max_results: int | None, limit: int) -> None:
    if not isinstance(max_results, int) or not 1 <= max_results <= limit:
        raise MlflowException(
            f"Invalid value for max_results. It must be a positive integer of at most {limit}, but got {max_results}",
            INVALID_PARAMETER_VALUE,
        )
