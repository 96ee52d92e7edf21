"""What goes wrong in the registry, in MLflow's error codes.

MLflow's client sends a request again on 408, 429 and 5xx: a code of that kind is used only where nothing happened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    NOT_IMPLEMENTED,
    PERMISSION_DENIED,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_CONFLICT,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from modelyard.artifacts.store import ArtifactMissing, ArtifactStoreUnreachable
from modelyard.cluster.client import ApiError, Conflict, Invalid
from modelyard.registry.edits import OwnedByGit
from modelyard.registry.mlflow_limits import LimitExceeded
from modelyard.registry.objects import ModelNotFound, NameTaken, RegistryError, VersionNotFound
from modelyard.registry.sources import InvalidSource

P = ParamSpec("P")
T = TypeVar("T")

_CODES: tuple[tuple[type[Exception], Any], ...] = (
    (ModelNotFound, RESOURCE_DOES_NOT_EXIST),
    (VersionNotFound, RESOURCE_DOES_NOT_EXIST),
    (NameTaken, RESOURCE_ALREADY_EXISTS),
    (OwnedByGit, PERMISSION_DENIED),
    (InvalidSource, INVALID_PARAMETER_VALUE),
    (LimitExceeded, INVALID_PARAMETER_VALUE),
    (ArtifactMissing, INVALID_PARAMETER_VALUE),
    (ArtifactStoreUnreachable, TEMPORARILY_UNAVAILABLE),
    (Invalid, INVALID_PARAMETER_VALUE),
    (Conflict, RESOURCE_CONFLICT),
    (RegistryError, RESOURCE_CONFLICT),
)


def translated(method: Callable[P, T]) -> Callable[P, T]:
    """Let `method` raise `MlflowException` instead of the registry's errors."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except ApiError as error:
            raise MlflowException(f"Kubernetes: {error}", _api_code(error)) from error
        except Exception as error:
            for kind, code in _CODES:
                if isinstance(error, kind):
                    raise MlflowException(str(error), code) from error
            raise

    return wrapper


def not_implemented(message: str) -> NoReturn:
    """Raise NOT_IMPLEMENTED; `message` says what to do instead."""
    raise MlflowException(message, NOT_IMPLEMENTED)


def _api_code(error: ApiError) -> Any:
    if error.code in (401, 403):
        return PERMISSION_DENIED
    if error.code == 0 or error.code >= 500 or error.code == 429:
        return TEMPORARILY_UNAVAILABLE
    return next((code for kind, code in _CODES if isinstance(error, kind)), INVALID_PARAMETER_VALUE)
