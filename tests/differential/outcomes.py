"""What an operation came to, in a form that two registries' answers can be compared in."""

# mypy: allow-untyped-calls

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlflow.entities.model_registry import ModelVersion, PromptVersion, RegisteredModel
from mlflow.entities.model_registry.prompt import Prompt
from mlflow.exceptions import MlflowException
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry.abstract_store import AbstractStore

from tests.differential.operations import Environment, Operation, perform

TIMES = ("creation_timestamp", "last_updated_timestamp")
_MORE_IS_KEPT = ("user_id", "model_id")
_PROMPT_VERSION = (
    "name",
    "version",
    "template",
    "commit_message",
    "tags",
    "aliases",
    "response_format",
    "model_config",
    *TIMES,
)


@dataclass(frozen=True)
class Outcome:
    """A value in plain data, or an error: its class, and its code where it is MLflow's."""

    value: Any = None
    error: str = ""
    code: str = ""
    message: str = ""

    def __str__(self) -> str:
        return f"{self.error} {self.code}: {self.message[:300]}" if self.error else repr(self.value)

    def agrees(self, other: Outcome) -> bool:
        """Whether both are the same; messages may differ."""
        return (self.value, self.error, self.code) == (other.value, other.error, other.code)


def outcome_of(store: AbstractStore, operation: Operation, environment: Environment) -> Outcome:
    """Run the operation and return what it came to."""
    try:
        return Outcome(plain(perform(store, operation, environment)))
    except MlflowException as error:
        return Outcome(error="MlflowException", code=str(error.error_code), message=str(error.message))
    except AssertionError:
        raise
    except Exception as error:
        return Outcome(error=type(error).__name__, message=str(error))


def plain(value: Any) -> Any:  # noqa: PLR0911 - one a type
    """Return MLflow's entities as plain data. What has no order in MLflow is sorted."""
    match value:
        case ModelVersion():
            fields = {key: each for key, each in dict(value).items() if key not in _MORE_IS_KEPT}
            return {**fields, "tags": dict(value.tags), "aliases": sorted(value.aliases)}
        case RegisteredModel():
            latest = sorted(value.latest_versions, key=lambda version: version.version)
            return {**dict(value), "tags": dict(value._tags), "latest_versions": [plain(each) for each in latest]}
        case PromptVersion():
            fields = {name: _known(getattr(value, name)) for name in _PROMPT_VERSION}
            return {**fields, "aliases": sorted(value.aliases)}
        case Prompt():
            return {
                "name": value.name,
                "description": value.description,
                "creation_timestamp": value.creation_timestamp,
                "tags": value.tags,
            }
        case PagedList():
            return {"items": [plain(each) for each in value], "token": value.token}
        case list() if value and isinstance(value[0], ModelVersion):
            # The latest version of each stage: MLflow gives them in the order of the stages' first versions.
            return [plain(each) for each in sorted(value, key=lambda version: version.version)]
        case list():
            return [plain(each) for each in value]
    return value


def without_times(value: Any) -> Any:
    """Return plain data in which times only say whether they are there."""
    if isinstance(value, dict):
        return {key: (each is not None) if key in TIMES else without_times(each) for key, each in value.items()}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def _known(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, dict, list)) else repr(value)
