"""The registry of the stock MLflow server: `mlflow server --registry-store-uri modelyard://<namespace>`.

Entry point `mlflow.model_registry_store`. Implements `mlflow.store.model_registry.abstract_store.AbstractStore` of
MLflow 3.17.2 over the RegisteredModels of one namespace. One instance serves all threads of the server.
"""

# mypy: allow-untyped-calls, allow-any-generics
# ruff: noqa: ARG002, PLR0917 - the parameters are those of MLflow's class

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from mlflow.entities.model_registry import ModelVersion
from mlflow.entities.model_registry import RegisteredModel as MlflowModel
from mlflow.entities.model_registry.model_version_stages import get_canonical_stage
from mlflow.exceptions import MlflowException
from mlflow.prompt.registry_utils import handle_resource_already_exist_error, has_prompt_tag
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry import (
    SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
)
from mlflow.utils.validation import (
    _REGISTERED_MODEL_ALIAS_LATEST,
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
    _validate_model_renaming,
    _validate_model_version,
    _validate_model_version_tag,
    _validate_registered_model_tag,
    _validate_tag_name,
)

from modelyard.api.names import MLFLOW_FIELD_MANAGER
from modelyard.api.registeredmodel import ASSIGNABLE, RegisteredModel, Stage
from modelyard.artifacts.store import ArtifactStore
from modelyard.cluster.client import Client, Conflict, connect
from modelyard.decide.registeredmodel import canonical, precise_timestamp
from modelyard.records.events import Event, ModelEdited
from modelyard.records.state import ModelState, VersionState
from modelyard.registry import mlflow_entities as entities
from modelyard.registry import mlflow_limits as limits
from modelyard.registry import mlflow_search as search
from modelyard.registry.lifecycle import Lifecycle
from modelyard.registry.mlflow_errors import translated
from modelyard.registry.mlflow_lookup import MlflowLookup
from modelyard.registry.mlflow_webhooks import WithoutWebhooks
from modelyard.registry.objects import REGISTERED_MODELS, VersionNotFound
from modelyard.registry.registry import Candidate, Clock, Registry, VersionMetadata, version_of
from modelyard.registry.sources import download_uri, resolve
from modelyard.registry.spec_edits import SpecEdits
from modelyard.registry.transitions import Transitions
from modelyard.settings import RegistrySettings

_READERS = 8


def _namespace(store_uri: str | None) -> str:
    parts = urlsplit(store_uri or "")
    if parts.scheme != "modelyard" or not parts.netloc or parts.path.strip("/"):
        raise MlflowException(
            f"the registry's URI must be modelyard://<namespace>, not {store_uri!r}", INVALID_PARAMETER_VALUE
        )
    return parts.netloc


class ModelyardStore(WithoutWebhooks):
    """MLflow's model registry on the RegisteredModels of one namespace."""

    def __init__(
        self,
        store_uri: str | None = None,
        tracking_uri: str | None = None,
        *,
        settings: RegistrySettings | None = None,
        registry: Registry | None = None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        """Read the settings from the environment and the cluster's access from the pod, unless they are given."""
        super().__init__(store_uri, tracking_uri)
        self._namespace = _namespace(store_uri)
        self._settings = settings or RegistrySettings.from_environment()
        self._clock = clock
        self._registry = registry or Registry(Client(connect()), ArtifactStore(self._settings), clock)
        self._lifecycle = Lifecycle(self._registry, clock)
        self._lookup = MlflowLookup(tracking_uri, self._version)
        self._edits = SpecEdits(self._registry, self._namespace, self._settings.git_managers)
        self._transitions = Transitions(self._registry, self._edits, self._namespace, self._settings.transition_timeout)

    # Registered models

    @translated
    def create_registered_model(
        self,
        name: str,
        tags: Iterable[Any] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> MlflowModel:
        """Create the RegisteredModel."""
        _validate_model_name(name)
        wanted = _tags(tags, _validate_registered_model_tag)
        limits.check_name(name)
        limits.check_description(description)
        limits.check_tags(wanted, {})
        spec: dict[str, Any] = {}
        if description is not None:
            spec["description"] = description
        if wanted:
            spec["tags"] = wanted
        try:
            model = self._registry.create_model(self._namespace, name, MLFLOW_FIELD_MANAGER, spec)
        except Conflict:
            found = self._registry.find_model(self._namespace, name)
            handle_resource_already_exist_error(
                name, has_prompt_tag(found.tags if found else {}), has_prompt_tag(wanted)
            )
            raise
        return self._recorded(model)

    @translated
    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> MlflowModel:
        """Change the model's description: `spec.description`."""
        self._read(name)
        limits.check_description(description)
        return self._recorded(self._edits.set(name, "description", description))

    @translated
    def rename_registered_model(self, name: str, new_name: str) -> MlflowModel:
        """Let the model go on in another object; one that Git manages is renamed there."""
        _validate_model_renaming(new_name)
        model, state = self._read(name)
        if name == new_name:
            return entities.registered_model(model, state)
        limits.check_name(new_name)
        self._edits.refuse_managed(model, "rename")
        self._lifecycle.rename(self._namespace, name, new_name, MLFLOW_FIELD_MANAGER)
        return entities.registered_model(*self._read(new_name))

    @translated
    def delete_registered_model(self, name: str) -> None:
        """Delete the model; its records and files stay. One that Git manages is deleted there."""
        model, _ = self._read(name)
        self._edits.refuse_managed(model, "delete")
        self._lifecycle.delete(self._namespace, name, MLFLOW_FIELD_MANAGER)

    @translated
    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList:
        """Search all models of the namespace: one LIST."""
        return search.search_models(self._models(), filter_string, max_results, order_by, page_token)

    @translated
    def get_registered_model(self, name: str) -> MlflowModel:
        """Return one model."""
        return entities.registered_model(*self._read(name))

    @translated
    def get_latest_versions(self, name: str, stages: Iterable[str] | None = None) -> list[ModelVersion]:
        """Return the latest version of each stage (of all stages, if none is given)."""
        model, state = self._read(name)
        wanted = [Stage(get_canonical_stage(stage)) for stage in stages or list(Stage)]
        return [entities.model_version(model, version) for version in entities.latest_versions(state, wanted)]

    @translated
    def set_registered_model_tag(self, name: str, tag: Any) -> None:
        """Set a tag: `spec.tags`."""
        _validate_model_name(name)
        added = _tags([tag], _validate_registered_model_tag)
        limits.check_tags(added, self._read(name)[0].tags)
        self._edits.set(name, "tags", added)

    @translated
    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Remove a tag; one that is not there is no error."""
        _validate_model_name(name)
        _validate_tag_name(key)
        self._edits.set(name, "tags", {key: None})

    # Model versions

    @translated
    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Iterable[Any] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Register a version; its files are read and hashed before it gets a number. A prompt's has none."""
        _validate_model_name(name)
        wanted = _tags(tags, _validate_model_version_tag)
        if urlsplit(source).scheme == "models":
            # What names nothing is found out before whether there is such a model, as in MLflow.
            run_id = run_id or self._lookup.model(source).run_id or run_id
        if not run_id and model_id:
            run_id = self._lookup.logged_model(model_id).run_id
        self._read(name)
        artifact = ""
        if not has_prompt_tag(wanted):
            origin = resolve(source, self._settings.artifacts_destination, self._lookup)
            artifact, model_id = origin.location, model_id or origin.model_id
        candidate = Candidate(
            source=source,
            artifact=artifact,
            created_by=MLFLOW_FIELD_MANAGER,
            run_id=run_id,
            run_link=run_link,
            model_id=model_id,
            description=description,
            tags=wanted,
        )
        limits.check_candidate(candidate)
        version = self._registry.register_version(self._namespace, name, candidate)
        return entities.model_version(self._read(name)[0], version)

    def copy_model_version(self, src_mv: ModelVersion, dst_name: str) -> ModelVersion:
        """Register the version's files again, as MLflow does; the logged model is found by the source."""
        source = copy(src_mv)
        source._model_id = None
        copied: ModelVersion = super().copy_model_version(source, dst_name)
        return copied

    @translated
    def update_model_version(self, name: str, version: Any, description: str | None = None) -> ModelVersion:
        """Change a version's description."""
        return self._edit_version(name, version, lambda before: replace(before, description=description))

    @translated
    def transition_model_version_stage(
        self, name: str, version: Any, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        """Ask for a stage by `spec.stages`, and wait, within a bound, for the operator's verdict."""
        wanted = Stage(get_canonical_stage(stage))
        if archive_existing_versions and wanted not in ASSIGNABLE.values():
            raise MlflowException(
                "Model version transition cannot archive existing model versions because "
                f"{stage!r} is not an Active stage. Valid stages are {[str(stage) for stage in ASSIGNABLE.values()]}",
                INVALID_PARAMETER_VALUE,
            )
        _validate_model_name(name)
        number = _validate_model_version(version)
        model = self._transitions.transition(name, number, wanted, archive=bool(archive_existing_versions))
        return entities.model_version(model, version_of(self._registry.state_of(model), name, number))

    @translated
    def delete_model_version(self, name: str, version: Any) -> None:
        """Show the version no longer, and let go of its stage and aliases. Its number, record and files stay."""
        number = _validate_model_version(version)
        self._version(name, number)
        self._edits.let_go(name, number)
        self._registry.delete_version(self._namespace, name, number, MLFLOW_FIELD_MANAGER)

    @translated
    def get_model_version(self, name: str, version: Any) -> ModelVersion:
        """Return one version."""
        model, state = self._read(name)
        return entities.model_version(model, version_of(state, name, _validate_model_version(version)))

    @translated
    def get_model_version_download_uri(self, name: str, version: Any) -> str:
        """Return where a client gets the files: from the tracking server, unless they are outside its artifacts."""
        found = self._version(name, version)
        return download_uri(found.artifact, self._settings.artifacts_destination) if found.artifact else found.source

    @translated
    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList:
        """Search the versions of one model (one GET) or of all (one LIST)."""
        name = search.searched_name(filter_string)
        if name is None:
            models = self._models()
        else:
            found = self._registry.look_up(self._namespace, name)
            models = [found] if found else []
        return search.search_versions(models, filter_string, max_results, order_by, page_token)

    @translated
    def set_model_version_tag(self, name: str, version: Any, tag: Any) -> None:
        """Set a tag of a version."""
        added = _tags([tag], _validate_model_version_tag)
        self._edit_version(name, version, lambda before: replace(before, tags={**before.tags, **added}))

    @translated
    def delete_model_version_tag(self, name: str, version: Any, key: str) -> None:
        """Remove a tag of a version; one that is not there is no error."""
        _validate_tag_name(key)
        self._edit_version(
            name,
            version,
            lambda before: replace(before, tags={tag: value for tag, value in before.tags.items() if tag != key}),
        )

    # Aliases

    @translated
    def set_registered_model_alias(self, name: str, alias: str, version: Any) -> None:
        """Point an alias to a version: `spec.aliases`."""
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
        number = _validate_model_version(version)
        model, state = self._read(name)
        version_of(state, name, number)
        limits.check_alias(alias, model)
        self._edits.set(name, "aliases", {alias: number})

    @translated
    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Remove an alias; one that is not there is no error."""
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        self._edits.set(name, "aliases", {alias: None})

    @translated
    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias (or `latest`) points to."""
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        model, state = self._read(name)
        if alias.lower() == _REGISTERED_MODEL_ALIAS_LATEST:
            if not state.shown:
                raise VersionNotFound(f"Latest version not found for model {name}.")
            return entities.model_version(model, state.shown[-1])
        if alias not in model.aliases:
            raise MlflowException(f"Registered model alias {alias} not found.", INVALID_PARAMETER_VALUE)
        return entities.model_version(model, version_of(state, name, model.aliases[alias]))

    def _await_model_version_creation(self, mv: ModelVersion, await_creation_for: int) -> None:
        """A version is complete when it is there."""

    def _read(self, name: str) -> tuple[RegisteredModel, ModelState]:
        _validate_model_name(name)
        return self._registry.read(self._namespace, name)

    def _version(self, name: str, version: Any) -> VersionState:
        _, state = self._read(name)
        return version_of(state, name, _validate_model_version(version))

    def _models(self) -> list[tuple[RegisteredModel, ModelState]]:
        bodies = self._registry.client.list_all(REGISTERED_MODELS, self._namespace)
        models = canonical(RegisteredModel.parse(body) for body in bodies)
        # The first look at a model after a start reads its log.
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(zip(models, pool.map(self._registry.state_of, models), strict=True))
        return [(model, state) for model, state in found if not state.has_ended(model.metadata.uid)]

    def _recorded(self, model: RegisteredModel) -> MlflowModel:
        """Record an edit of the model at the time of the edit, which the operator would do later; return the model."""

        def edited(state: ModelState) -> Event | None:
            if model.status.observed_generation is None and state.updated_at:
                # What an earlier object left is the operator's to take in first.
                return None
            present = (model.description, model.tags, model.aliases)
            if state.updated_at and present == (state.description, state.tags, state.aliases):
                return None
            return ModelEdited(
                by=MLFLOW_FIELD_MANAGER,
                at=precise_timestamp(self._clock()),
                description=model.description,
                tags=model.tags,
                aliases=model.aliases,
            )

        state = self._registry.ledger(self._namespace, model.metadata.name).append(edited)
        return entities.registered_model(model, state)

    def _edit_version(
        self, name: str, version: Any, edit: Callable[[VersionMetadata], VersionMetadata]
    ) -> ModelVersion:
        _validate_model_name(name)
        number = _validate_model_version(version)
        edited = self._registry.edit_version(self._namespace, name, number, MLFLOW_FIELD_MANAGER, edit)
        return entities.model_version(self._read(name)[0], edited)


def _tags(tags: Iterable[Any] | None, check: Callable[[str, Any], None]) -> dict[str, str]:
    found = {}
    for tag in tags or []:
        check(tag.key, tag.value)
        found[tag.key] = "" if tag.value is None else str(tag.value)
    return found
