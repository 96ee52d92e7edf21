"""Holds single values, and the lists and mappings inside a cell, to their types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from modelyard_serving.errors import SchemaError
from modelyard_serving.schema.scalars import enforce_scalars
from modelyard_serving.schema.types import Anything, Array, ColumnType, Map, Object, Scalar

if TYPE_CHECKING:
    import pandas as pd
else:
    from modelyard_serving.lazy import pandas as pd


def enforce_value(value: Any, kind: ColumnType, *, required: bool = True) -> Any:
    """`value` as `kind` has it; the input is not changed. Raises SchemaError."""
    match kind:
        case Scalar():
            return _enforce_scalar(value, kind, required)
        case Array():
            return _enforce_array(value, kind, required)
        case Object():
            return _enforce_object(value, kind, required)
        case Map():
            return _enforce_map(value, kind, required)
        case Anything():
            return value


def _enforce_scalar(value: Any, kind: Scalar, required: bool) -> Any:
    if not required and (value is None or (isinstance(value, float) and np.isnan(value))):
        return None
    if not np.isscalar(value):
        raise SchemaError(f"Expected data to be scalar, got {type(value).__name__}")
    try:
        return enforce_scalars("", pd.Series([value]), kind)[0]
    except SchemaError:
        raise SchemaError(f"Failed to enforce schema of data `{value!s}` with dtype `{kind.name}`") from None


def _enforce_array(value: Any, kind: Array, required: bool) -> Any:
    optional = not required or isinstance(kind.items, Anything)
    if optional and (value is None or (isinstance(value, list | np.ndarray) and len(value) == 0)):
        return value
    if not isinstance(value, list | np.ndarray):
        raise SchemaError(f"Expected data to be list or numpy array, got {type(value).__name__}")
    if not isinstance(kind.items, Scalar):
        enforced: Any = [enforce_value(item, kind.items, required=required) for item in value]
        return np.array(enforced) if isinstance(value, np.ndarray) else enforced
    if len(value) == 0:
        return value
    enforced = enforce_scalars("", pd.Series(value), kind.items).to_numpy(dtype=cast(Any, kind.items.numpy))
    return enforced.tolist() if isinstance(value, list) else enforced


def _enforce_object(value: Any, kind: Object, required: bool) -> Any:
    if not required and (value is None or value == {}):
        return value
    if not isinstance(value, dict):
        raise SchemaError(
            f"Failed to enforce schema of '{value}' with type '{kind}'. "
            f"Expected data to be dictionary, got {type(value).__name__}"
        )
    properties = {item.name: item for item in kind.properties}
    if missing := {item.name for item in kind.properties if item.required} - value.keys():
        raise SchemaError(f"Missing required properties: {missing}")
    if unknown := value.keys() - properties.keys():
        raise SchemaError(f"Invalid properties not defined in the schema found: {unknown}")
    enforced = {}
    for key, item in value.items():
        try:
            enforced[key] = enforce_value(item, properties[key].type, required=properties[key].required)
        except SchemaError as error:
            raise SchemaError(
                f"Failed to enforce schema for key `{key}`. "
                f"Expected type {_type_name(properties[key].type)}, received type {type(item).__name__}"
            ) from error
    return enforced


def _enforce_map(value: Any, kind: Map, required: bool) -> Any:
    optional = not required or isinstance(kind.values, Anything)
    if optional and (value is None or value == {}):
        return value
    if not isinstance(value, dict):
        raise SchemaError(f"Expected data to be a dict, got {type(value).__name__}")
    if not all(isinstance(key, str) for key in value):
        raise SchemaError("Expected all keys in the map type data are string type.")
    return {key: enforce_value(item, kind.values, required=required) for key, item in value.items()}


def _type_name(kind: ColumnType) -> str:
    return (
        kind.name if isinstance(kind, Scalar) else "any" if isinstance(kind, Anything) else type(kind).__name__.lower()
    )
