"""The backend config: `mlflow run --backend-config FILE.json`, checked before anything is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from modelyard.api.common import ApiModel
from modelyard.api.experiment import EnvironmentSource, ExperimentSpec
from modelyard.api.names import is_dns_label
from modelyard.api.pods import LocalReference
from modelyard.backend.errors import BackendError

NAME_LIMIT = 52

# What mlflow/projects/utils.py puts among the config's fields.
_ENV_MANAGER = "ENV_MANAGER"
_SYNCHRONOUS = "SYNCHRONOUS"
_MLFLOW = (_ENV_MANAGER, _SYNCHRONOUS, "DOCKER_ARGS", "STORAGE_DIR", "build_image", "docker_auth")
_REFUSED = {
    "DOCKER_ARGS": "--docker-args: set template in the backend config, whose fields are Kubernetes'",
    "build_image": "--build-image: images are not built here; docker_env names one that is in a registry",
    "docker_auth": "docker_auth: registries' credentials are Secrets; name them in template.imagePullSecrets",
    "STORAGE_DIR": "--storage-dir: what path parameters name is downloaded in the trial's own pod",
}
_OURS = {
    "project": "the project is the URI that mlflow run is given",
    "entryPoint": "use -e",
    "parameters": "use -P name=value",
    "schedule": "mlflow run runs now; write an Experiment with a schedule",
    "timeZone": "it belongs to a schedule; mlflow run runs now",
    "suspend": "mlflow run runs now",
}


class GitOptions(ApiModel):
    """What a git URL does not say."""

    secret_ref: LocalReference | None = None
    submodules: bool = True


class Options(ApiModel):
    """Fields of the config that are not the Experiment's own."""

    name: Annotated[
        str | None,
        Field(min_length=1, description="The Experiment that is run once more. Default: a new one for each call."),
    ] = None
    namespace: Annotated[str | None, Field(description="Default: the context's.")] = None
    context: Annotated[str | None, Field(description="Of the kubeconfig. Default: the current one.")] = None
    kubeconfig: Annotated[str | None, Field(description="Default: as kubectl finds it.")] = None
    allow_dirty: Annotated[bool, Field(description="Run a git checkout with changes that are not committed.")] = False
    follow: Annotated[
        bool | None, Field(description="Wait for the end. Default: on the command line, and where MLflow waits.")
    ] = None
    logs: Annotated[bool, Field(description="Show the trials' logs while waiting.")] = True
    git: Annotated[GitOptions | None, Field(description="For a project in git.")] = None


class Config:
    """A checked config: the options, and the fields of the Experiment's spec as they were given."""

    def __init__(self, options: Options, spec: Mapping[str, Any], *, synchronous: bool) -> None:
        self.options = options
        self.spec = spec
        self.synchronous = synchronous

    @property
    def swept(self) -> frozenset[str]:
        """The parameters that the sweep gives."""
        return frozenset((self.spec.get("sweep") or {}).get("parameters") or ())


def read(given: Mapping[str, Any] | str | None) -> Config:
    """Check the config. `given` is a dictionary, or the path of a JSON file. Raises `BackendError`."""
    fields = dict(_loaded(given))
    mlflow = {name: fields.pop(name, None) for name in _MLFLOW}
    for name, advice in _REFUSED.items():
        if mlflow[name]:
            raise BackendError(f"not supported by this backend: {advice}")
    for name, advice in _OURS.items():
        if name in fields:
            raise BackendError(f"backend config: {name} cannot be set: {advice}")
    own = {name: fields.pop(name) for name in _wire_names(Options) if name in fields}
    unknown = sorted(fields.keys() - _wire_names(ExperimentSpec))
    if unknown:
        known = ", ".join(sorted(_wire_names(Options) | (_wire_names(ExperimentSpec) - _OURS.keys())))
        raise BackendError(f"backend config: unknown field {', '.join(unknown)}; there are {known}")
    if mlflow[_ENV_MANAGER] == "local":
        fields.setdefault("environment", EnvironmentSource.IMAGE.value)
    try:
        options = Options.model_validate(own)
        ExperimentSpec.model_validate(fields)
    except ValidationError as error:
        raise BackendError(f"backend config: {words(error)}") from error
    if options.name is not None and not is_dns_label(options.name, NAME_LIMIT):
        raise BackendError(
            f"backend config: name: {options.name!r} is no name of an Experiment: at most {NAME_LIMIT}"
            " lowercase letters, digits and '-'"
        )
    return Config(options, fields, synchronous=bool(mlflow[_SYNCHRONOUS]))


def words(error: ValidationError) -> str:
    """Return what pydantic found, one after the other, each with the field's path."""
    found = error.errors(include_url=False)
    return "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in found)


def _loaded(given: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    if not isinstance(given, str):
        return given or {}
    try:
        content = json.loads(Path(given).read_text())
    except (OSError, ValueError) as error:
        raise BackendError(f"cannot read the backend config {given}: {error}") from error
    if not isinstance(content, dict):
        raise BackendError(f"the backend config {given} is no JSON object")
    return content


def _wire_names(model: type[ApiModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())
