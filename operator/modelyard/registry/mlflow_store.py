"""The registry of the stock MLflow server: `mlflow server --registry-store-uri modelyard://<namespace>`.

Entry point `mlflow.model_registry_store`. Implements `mlflow.store.model_registry.abstract_store.AbstractStore` of
MLflow 3.17.2 over the RegisteredModels of one namespace. One instance serves all threads of the server.
"""

# mypy: allow-untyped-calls, allow-any-generics
# ruff: noqa: ARG002, PLR0917 - the parameters are those of MLflow's class

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from mlflow.entities.model_registry import ModelVersion
from mlflow.entities.model_registry import RegisteredModel as MlflowModel
from mlflow.entities.model_registry.model_version_stages import get_canonical_stage
from mlflow.exceptions import MlflowException
from mlflow.prompt.registry_utils import has_prompt_tag
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
    _validate_model_version,
    _validate_model_version_tag,
    _validate_registered_model_tag,
)

from modelyard.api.names import MLFLOW_FIELD_MANAGER
from modelyard.api.registeredmodel import ASSIGNABLE, RegisteredModel, Stage
from modelyard.artifacts.store import ArtifactStore
from modelyard.cluster.client import Client, Conflict, connect
from modelyard.decide.registeredmodel import canonical
from modelyard.records.state import ModelState, VersionState
from modelyard.registry import mlflow_entities as entities
from modelyard.registry.mlflow_errors import not_implemented, translated
from modelyard.registry.mlflow_lookup import MlflowLookup
from modelyard.registry.objects import REGISTERED_MODELS, VersionNotFound
from modelyard.registry.registry import Candidate, Registry, VersionMetadata, version_of
from modelyard.registry.sources import download_uri, resolve
from modelyard.registry.spec_edits import SpecEdits
from modelyard.registry.transitions import Transitions
from modelyard.settings import RegistrySettings

_LATEST = "latest"
_PROMPTS = (
    "Modelyard's registry keeps models, not prompts: keep prompts on a tracking server whose registry is a database"
)


def _namespace(store_uri: str | None) -> str:
    parts = urlsplit(store_uri or "")
    if parts.scheme != "modelyard" or not parts.netloc or parts.path.strip("/"):
        raise MlflowException(
            f"the registry's URI must be modelyard://<namespace>, not {store_uri!r}", INVALID_PARAMETER_VALUE
        )
    return parts.netloc


class ModelyardStore(AbstractStore):
    """MLflow's model registry on the RegisteredModels of one namespace."""

    def __init__(
        self,
        store_uri: str | None = None,
        tracking_uri: str | None = None,
        *,
        settings: RegistrySettings | None = None,
        registry: Registry | None = None,
    ) -> None:
        """Read the settings from the environment and the cluster's access from the pod, unless they are given."""
        super().__init__(store_uri, tracking_uri)
        self._namespace = _namespace(store_uri)
        self._settings = settings or RegistrySettings.from_environment()
        self._registry = registry or Registry(
            Client(connect()), ArtifactStore(self._settings), lambda: datetime.now(UTC)
        )
        self._lookup = MlflowLookup(tracking_uri, self._version_of_reference)
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
        spec: dict[str, Any] = {}
        if description:
            spec["description"] = description
        if wanted := _tags(tags, _validate_registered_model_tag):
            spec["tags"] = wanted
        try:
            model = self._registry.create_model(self._namespace, name, MLFLOW_FIELD_MANAGER, spec)
        except Conflict as error:
            raise MlflowException(f"Registered Model (name={name}) already exists.", RESOURCE_ALREADY_EXISTS) from error
        return entities.registered_model(model, self._registry.state_of(model))

    @translated
    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> MlflowModel:
        """Change the model's description: `spec.description`."""
        model = self._edits.set(name, "description", description)
        return entities.registered_model(model, self._registry.state_of(model))

    @translated
    def rename_registered_model(self, name: str, new_name: str) -> MlflowModel:
        """Not to be had: the object's name follows from the model's."""
        self._read(name)
        not_implemented(
            f"a registered model cannot be renamed: register its versions under {new_name!r} with "
            f"MlflowClient().copy_model_version"
        )

    @translated
    def delete_registered_model(self, name: str) -> None:
        """Not to be had through MLflow."""
        model, _ = self._read(name)
        not_implemented(
            f"delete it where its deployments are seen too: kubectl delete registeredmodel {model.metadata.name} "
            f"-n {self._namespace} (its versions stay in the artifact store)"
        )

    @translated
    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList:
        """Search all models of the namespace: one LIST."""
        return entities.search_models(self._models(), filter_string, max_results, order_by, page_token)

    @translated
    def get_registered_model(self, name: str) -> MlflowModel:
        """Return one model."""
        return entities.registered_model(*self._read(name))

    @translated
    def get_latest_versions(self, name: str, stages: Iterable[str] | None = None) -> list[ModelVersion]:
        """Return the latest version of each stage (of all stages, if none is given)."""
        wanted = [Stage(get_canonical_stage(stage)) for stage in stages or list(Stage)]
        model, state = self._read(name)
        return [entities.model_version(model, version) for version in entities.latest_versions(state, wanted)]

    @translated
    def set_registered_model_tag(self, name: str, tag: Any) -> None:
        """Set a tag: `spec.tags`."""
        self._edits.set(name, "tags", {tag.key: _tags([tag], _validate_registered_model_tag)[tag.key]})

    @translated
    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Remove a tag; one that is not there is no error."""
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
        """Register a version; its files are read and hashed before it gets a number."""
        _validate_model_name(name)
        wanted = _tags(tags, _validate_model_version_tag)
        self._read(name)
        origin = resolve(source, self._settings.artifacts_destination, self._lookup)
        if not run_id and model_id:
            run_id = self._lookup.logged_model(model_id).run_id
        candidate = Candidate(
            source=source,
            artifact=origin.location,
            created_by=MLFLOW_FIELD_MANAGER,
            run_id=run_id or origin.run_id,
            run_link=run_link or None,
            model_id=model_id or origin.model_id,
            description=description or None,
            tags=wanted,
        )
        version = self._registry.register_version(self._namespace, name, candidate)
        return entities.model_version(self._read(name)[0], version)

    @translated
    def update_model_version(self, name: str, version: Any, description: str | None) -> ModelVersion:
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
        """Not to be had: a version's number and record stay."""
        self._version(name, version)
        not_implemented(
            "a version cannot be deleted; put it aside with "
            f"transition_model_version_stage({name!r}, {version}, 'Archived')"
        )

    @translated
    def get_model_version(self, name: str, version: Any) -> ModelVersion:
        """Return one version."""
        model, state = self._read(name)
        return entities.model_version(model, version_of(state, name, _validate_model_version(version)))

    @translated
    def get_model_version_download_uri(self, name: str, version: Any) -> str:
        """Return where a client gets the files: from the tracking server, unless they are outside its artifacts."""
        found = self._version(name, version)
        return download_uri(found.artifact, self._settings.artifacts_destination)

    @translated
    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList:
        """Search the versions of one model (one GET) or of all (one LIST)."""
        name = entities.searched_name(filter_string)
        if name is None:
            models = self._models()
        else:
            found = self._registry.look_up(self._namespace, name)
            models = [found] if found else []
        return entities.search_versions(models, filter_string, max_results, order_by, page_token)

    @translated
    def set_model_version_tag(self, name: str, version: Any, tag: Any) -> None:
        """Set a tag of a version."""
        added = _tags([tag], _validate_model_version_tag)
        self._edit_version(name, version, lambda before: replace(before, tags={**before.tags, **added}))

    @translated
    def delete_model_version_tag(self, name: str, version: Any, key: str) -> None:
        """Remove a tag of a version; one that is not there is no error."""
        self._edit_version(
            name,
            version,
            lambda before: replace(before, tags={tag: value for tag, value in before.tags.items() if tag != key}),
        )

    # Aliases

    @translated
    def set_registered_model_alias(self, name: str, alias: str, version: Any) -> None:
        """Point an alias to a version: `spec.aliases`."""
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
        number = _validate_model_version(version)
        self._version(name, number)
        self._edits.set(name, "aliases", {alias: number})

    @translated
    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Remove an alias; one that is not there is no error."""
        _validate_model_alias_name(alias)
        self._edits.set(name, "aliases", {alias: None})

    @translated
    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias (or `latest`) points to."""
        model, state = self._read(name)
        number = state.latest_version if alias.lower() == _LATEST else model.aliases.get(alias)
        if number is None:
            raise MlflowException(f"Registered model alias {alias} not found.", INVALID_PARAMETER_VALUE)
        return entities.model_version(model, version_of(state, name, number))

    # Webhooks: MLflow's do not cover stages; watching the RegisteredModels does.

    def list_webhooks(self, max_results: int | None = None, page_token: str | None = None) -> PagedList:
        """There are none."""
        return PagedList([], None)

    def list_webhooks_by_event(
        self, event: Any, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList:
        """There are none."""
        return PagedList([], None)

    def get_webhook(self, webhook_id: str) -> Any:
        """There are none."""
        raise MlflowException(f"Webhook with ID {webhook_id} not found.", RESOURCE_DOES_NOT_EXIST)

    def create_webhook(self, *_: Any, **__: Any) -> Any:
        """Not to be had."""
        not_implemented(
            "webhooks are not kept here: watch the RegisteredModels instead, which change with every version and stage "
            f"(kubectl get registeredmodels -n {self._namespace} --watch)"
        )

    def update_webhook(self, webhook_id: str, *_: Any, **__: Any) -> Any:
        """There are none."""
        return self.get_webhook(webhook_id)

    def delete_webhook(self, webhook_id: str) -> None:
        """There are none."""
        self.get_webhook(webhook_id)

    def test_webhook(self, webhook_id: str, event: Any = None) -> Any:
        """There are none."""
        return self.get_webhook(webhook_id)

    def _await_model_version_creation(self, mv: ModelVersion, await_creation_for: int) -> None:
        """A version is complete when it is there."""

    def _read(self, name: str) -> tuple[RegisteredModel, ModelState]:
        _validate_model_name(name)
        return self._registry.read(self._namespace, name)

    def _version(self, name: str, version: Any) -> VersionState:
        number = _validate_model_version(version)
        return version_of(self._read(name)[1], name, number)

    def _models(self) -> list[tuple[RegisteredModel, ModelState]]:
        bodies = self._registry.client.list_all(REGISTERED_MODELS, self._namespace)
        found = [(model, self._registry.state_of(model)) for model in canonical(map(RegisteredModel.parse, bodies))]
        return [(model, state) for model, state in found if not state.has_ended(model.metadata.uid)]

    def _version_of_reference(self, name: str, reference: str) -> VersionState:
        """Return the version that a number, a stage, an alias (with `@`) or `latest` stands for."""
        model, state = self._read(name)
        if reference.isdecimal():
            return version_of(state, name, int(reference))
        if reference.startswith("@"):
            return version_of(state, name, model.aliases.get(reference.removeprefix("@"), 0))
        if reference.lower() == _LATEST:
            return version_of(state, name, state.latest_version)
        found = entities.latest_versions(state, [Stage(get_canonical_stage(reference))])
        if not found:
            raise VersionNotFound(f"no version of {name!r} is in {reference}")
        return found[0]

    def _edit_version(
        self, name: str, version: Any, edit: Callable[[VersionMetadata], VersionMetadata]
    ) -> ModelVersion:
        number = _validate_model_version(version)
        _validate_model_name(name)
        edited = self._registry.edit_version(self._namespace, name, number, MLFLOW_FIELD_MANAGER, edit)
        return entities.model_version(self._read(name)[0], edited)


def _tags(tags: Iterable[Any] | None, check: Callable[[str, Any], None]) -> dict[str, str]:
    found = {}
    for tag in tags or []:
        check(tag.key, tag.value)
        found[tag.key] = "" if tag.value is None else str(tag.value)
    if has_prompt_tag(found):
        not_implemented(_PROMPTS)
    return found
