"""Recognises the differences that are on purpose while operations run."""

# mypy: allow-untyped-calls

from __future__ import annotations

import re
from typing import Any

from mlflow.entities.model_registry.model_version_stages import get_canonical_stage
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.utils.validation import MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH, MAX_REGISTERED_MODEL_ALIAS_LENGTH

from modelyard.api.registeredmodel import DESCRIPTION_LIMIT, TAG_VALUE_LIMIT
from tests.differential.operations import Environment, Operation
from tests.differential.outcomes import Outcome
from tests.differential.reference import Reference

_NAME_LIMIT = 256
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,63}", re.ASCII)
_RUN_ID_LIMIT = 64
_NAMING = ("create_registered_model", "create_prompt", "rename_registered_model", "copy_model_version")
_NOT_THE_SERVERS_FAULT = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def exceeds_sizes(operation: Operation) -> bool:
    """Whether MLflow would take a value that is longer than an object holds."""
    if operation.method in (
        "create_registered_model",
        "create_prompt",
        "rename_registered_model",
        "copy_model_version",
    ):
        name = next(operation[key] for key in ("new_name", "dst_name", "name") if key in operation.arguments)
        if isinstance(name, str) and len(name) > _NAME_LIMIT:
            return True
    if operation.method in ("set_registered_model_alias", "set_prompt_alias"):
        alias = operation["alias"]
        if isinstance(alias, str) and len(alias) <= MAX_REGISTERED_MODEL_ALIAS_LENGTH and not _ALIAS.fullmatch(alias):
            return True
    of_models = operation.method in ("create_registered_model", "set_registered_model_tag")
    tags = [operation["tag"]] if "tag" in operation.arguments else operation["tags"] or []
    if of_models and isinstance(tags, list) and any(_too_long(value) for _, value in tags):
        return True
    of_models = operation.method in ("create_registered_model", "update_registered_model", "create_prompt")
    if of_models and len(operation["description"] or "") > DESCRIPTION_LIMIT:
        return True
    return len(operation["run_id"] or "") > _RUN_ID_LIMIT


def _too_long(value: Any) -> bool:
    return isinstance(value, str) and TAG_VALUE_LIMIT < len(value) <= MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH


def has_no_files(operation: Operation, reference: Reference, environment: Environment) -> bool:
    """Whether a version is to be registered from what is not in the artifact store."""
    if operation.method == "copy_model_version":
        name, number = operation["name"], _number(operation["version"])
        copied = reference.version(name, number)
        if copied is None or IS_PROMPT_TAG_KEY in reference.tag_keys(name, number):
            return False
        return not _known(copied.location, environment)
    if operation.method != "create_model_version":
        return False
    if any(key == IS_PROMPT_TAG_KEY for key, _ in operation["tags"] or []):
        return False
    source = environment.fill(operation["source"])
    if not source.startswith("models:"):
        return not _known(source, environment)
    name, slash, number = source.removeprefix("models:/").rpartition("/")
    found = reference.version(name, _number(number)) if slash else None
    return found is not None and not _known(found.location, environment)


def _known(location: str | None, environment: Environment) -> bool:
    known = {f"{environment.artifacts}/{name}" for name in ("one", "two", "three")}
    known |= {"mlflow-artifacts:/three", f"runs:/{environment.run_id}/model"}
    return location in known or str(location).endswith(f"/{environment.model_id}/artifacts")


def _number(version: Any) -> int:
    try:
        number = int(version)
    except (TypeError, ValueError):
        return 0
    return number if abs(number) < 2**63 else 0


def changes_nothing(operation: Operation, reference: Reference) -> bool:  # noqa: PLR0911 - one a method
    """Whether the operation asks for what is there already."""
    name = operation["name"]
    if not isinstance(name, str):
        return False
    if operation.method == "rename_registered_model":
        return bool(name == operation["new_name"])
    if operation.method == "update_registered_model":
        model = reference.model(name)
        return model is not None and model["description"] == operation["description"]
    if operation.method not in ("update_model_version", "transition_model_version_stage"):
        return False
    version = reference.version(name, _number(operation["version"]))
    if version is None:
        return False
    if operation.method == "update_model_version":
        return bool(version.description == operation["description"])
    return bool(version.stage == canonical_stage(operation["stage"]))


def canonical_stage(stage: Any) -> str | None:
    """Return the stage as MLflow spells it, None where it is none."""
    try:
        return str(get_canonical_stage(stage))
    except (MlflowException, AttributeError):
        return None


def answers_another_code(reference: Outcome, ours: Outcome, operation: Operation) -> bool:
    """Whether MLflow takes bad input for a fault of its own, and Modelyard names it."""
    if operation.wrong_type:
        return bool(reference.error and ours.error)
    return reference.code == "INTERNAL_ERROR" and ours.code in _NOT_THE_SERVERS_FAULT


def downloads_elsewhere(reference: Outcome, ours: Outcome, operation: Operation, environment: Environment) -> bool:
    """Whether both name the same directory, Modelyard as the tracking server serves it; or, of a prompt, its source."""
    if operation.method != "get_model_version_download_uri" or reference.error or ours.error:
        return False
    if ours.value.startswith("models:/"):
        # Only a prompt's version has no files, and so its source again.
        return True
    if reference.value.startswith(f"{environment.artifacts}/"):
        return bool(ours.value == reference.value.replace(f"{environment.artifacts}/", "mlflow-artifacts:/"))
    of_logged_model = f"/{environment.model_id}/artifacts"
    return bool(reference.value.startswith("runs:/") and ours.value.endswith(of_logged_model))
