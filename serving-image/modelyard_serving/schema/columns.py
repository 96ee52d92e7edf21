"""Holds tabular input to a column signature.

Rules: https://mlflow.org/docs/latest/ml/model/signatures/ ("Signature Enforcement").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard_serving.errors import SchemaError
from modelyard_serving.schema.nested import enforce_value
from modelyard_serving.schema.scalars import enforce_scalars
from modelyard_serving.schema.types import Array, Column, ColumnSchema, Object, Scalar

if TYPE_CHECKING:
    import pandas as pd
else:
    from modelyard_serving.lazy import pandas as pd


def enforce_columns(frame: pd.DataFrame, schema: ColumnSchema) -> pd.DataFrame:
    """The schema's columns of `frame` in the schema's order, in their types; columns it does not know are dropped.

    The caller has seen to it that no required column is missing. Raises SchemaError.
    """
    if schema.named:
        specs = {spec.name: spec for spec in schema.inputs if spec.name in frame}
    else:
        specs = dict(zip(frame.columns, schema.inputs, strict=False))
    return pd.DataFrame({name: _enforce_column(name, frame[name], spec) for name, spec in specs.items()})


def _enforce_column(name: Any, values: pd.Series[Any], spec: Column) -> pd.Series[Any]:
    if isinstance(spec.type, Scalar):
        return enforce_scalars(name, values, spec.type)
    enforced = [enforce_value(value, spec.type, required=spec.required) for value in values]
    return pd.Series(enforced, index=values.index, name=name)


def frame_of(data: object, schema: ColumnSchema) -> pd.DataFrame:
    """Any readable input as a DataFrame: a scalar, list, array, or mapping of columns. Raises SchemaError."""
    if isinstance(data, pd.DataFrame):
        return data
    if np.isscalar(data):
        return pd.DataFrame([data])
    if isinstance(data, dict):
        return _frame_of_mapping(data, schema)
    if isinstance(data, list | np.ndarray):
        return pd.DataFrame(data)
    raise SchemaError(f"Expected input to be DataFrame. Found: {type(data).__name__}")


def _frame_of_mapping(data: dict[str, Any], schema: ColumnSchema) -> pd.DataFrame:
    """A mapping is one row when its values are plainly single values, else a column a key."""
    if any(isinstance(spec.type, Array | Object) for spec in schema.inputs) or all(map(_single, data.values())):
        return pd.DataFrame([data])
    try:
        if all(map(_text_cell, data.values())):
            return pd.DataFrame([data])
        # pandas takes no arrays of several dimensions as columns; as lists they meet the rules for types instead.
        columns = {
            key: value.tolist() if isinstance(value, np.ndarray) and value.ndim > 1 else value
            for key, value in data.items()
        }
        return pd.DataFrame(columns)
    except Exception as error:
        raise SchemaError(
            "This model contains a column-based signature, which suggests a DataFrame input. There was an error"
            f" casting the input data to a DataFrame: {error}"
        ) from error


def _single(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return value is None or bool(np.isscalar(value))


def _text_cell(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind == "U"
