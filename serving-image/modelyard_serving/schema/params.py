"""Inference parameters: what a signature declares, and the `params` of a request held to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard_serving.errors import ErrorCode, RequestError, SchemaError
from modelyard_serving.logs import warn_once
from modelyard_serving.schema.nested import enforce_value
from modelyard_serving.schema.types import Object, Scalar, read_type

# JSON values of these Python types are taken for the scalar type; bool is no int here.
_ACCEPTED: Mapping[Scalar, tuple[type, ...]] = {
    Scalar.boolean: (bool,),
    Scalar.integer: (int,),
    Scalar.long: (int,),
    Scalar.float: (float, int),
    Scalar.double: (float, int),
    Scalar.string: (str,),
}


@dataclass(frozen=True)
class Param:
    """One declared parameter."""

    name: str
    type: Scalar | Object
    default: Any
    is_list: bool

    def __repr__(self) -> str:
        """As MLflow writes the parameter in its messages."""
        shape = " (shape: (-1,))" if self.is_list else ""
        return f"{self.name!r}: {self.type!r} (default: {self.default}){shape}"


ParamsSchema = tuple[Param, ...]


def read_params(entries: Sequence[Mapping[str, Any]]) -> ParamsSchema:
    """The `params` of a signature. Raises ValueError, TypeError or KeyError for what is no parameter schema."""
    return tuple(_read_param(entry) for entry in entries)


def _read_param(entry: Mapping[str, Any]) -> Param:
    kind = read_type({**entry, "type": entry.get("type") or entry["dtype"]})
    if not isinstance(kind, Scalar | Object) or kind is Scalar.binary:
        raise ValueError(f"parameter {entry['name']!r} cannot have the type {kind}")
    if entry.get("shape") not in (None, [-1]):
        raise ValueError(f"parameter {entry['name']!r} cannot have the shape {entry['shape']}")
    param = Param(str(entry["name"]), kind, entry["default"], entry.get("shape") is not None)
    try:
        default = _enforce_param(param, param.default)
    except SchemaError as error:
        raise ValueError(str(error)) from error
    return Param(param.name, kind, default, param.is_list)


def enforce_params(params: Any, schema: ParamsSchema | None) -> dict[str, Any]:
    """The parameters to predict with: those given, checked, and the defaults of the rest.

    Parameters that the signature does not declare are ignored with a warning.
    Raises RequestError (400 INVALID_PARAMETER_VALUE) that names each invalid parameter.
    """
    if schema is None:
        if params:
            warn_once("params_ignored", reason="the model's signature declares no params")
        return {}
    params = {} if params is None else params
    if not isinstance(params, dict):
        raise _invalid(f"Parameters must be a dictionary. Got type '{type(params).__name__}'.")
    if unknown := sorted(params.keys() - {param.name for param in schema}):
        warn_once("params_ignored", unknown=unknown[:10], supported=[param.name for param in schema])
    enforced, problems = {}, set()
    for param in schema:
        try:
            enforced[param.name] = _enforce_param(param, params[param.name]) if param.name in params else param.default
        except SchemaError as error:
            problems.add((param.name, str(error)))
    if problems:
        raise _invalid(f"Invalid parameters found: {problems!r}")
    return enforced


def _enforce_param(param: Param, value: Any) -> Any:
    if param.is_list and (not isinstance(value, list) or any(isinstance(item, list) for item in value)):
        raise SchemaError(
            f"Value must be a 1D array with shape (-1,) for param {param}, received {type(value).__name__}"
        )
    try:
        if isinstance(param.type, Object):
            enforce_value(value, param.type)
            return value
        if param.is_list:
            return [_enforce_scalar(param.type, item) for item in value]
        return _enforce_scalar(param.type, value)
    except Exception as error:
        raise SchemaError(f"Failed to validate type and shape for {param}, error: {error}") from error


def _enforce_scalar(kind: Scalar, value: Any) -> Any:
    if value is None:
        return None
    if kind is Scalar.datetime:
        return _enforce_datetime(value)
    if isinstance(value, list | dict):
        raise SchemaError(f"Value must be a scalar for type `{kind}`, got `{value}`")
    if type(value) not in _ACCEPTED[kind]:
        raise SchemaError(f"Can not safely convert `{type(value)}` to `{kind}` for value `{value}`")
    return float(value) if kind in (Scalar.float, Scalar.double) else value


def _enforce_datetime(value: Any) -> Any:
    try:
        moment = np.datetime64(value).item()
    except ValueError:
        raise SchemaError(
            f"Failed to convert value `{value}` from type `{type(value)}` to `{Scalar.datetime}`"
        ) from None
    if isinstance(moment, int):
        raise SchemaError(
            f"Failed to convert value to `{Scalar.datetime}`. It must be convertible to datetime.date/datetime, "
            f"got `{value}`"
        )
    return moment


def _invalid(message: str) -> RequestError:
    return RequestError(message, ErrorCode.INVALID_PARAMETER_VALUE)
