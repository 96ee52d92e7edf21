"""Reads `dataframe_split` and `dataframe_records`: JSON to a DataFrame whose columns have the schema's types."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from modelyard_serving.errors import RequestError, invalid_input
from modelyard_serving.schema.nested import enforce_value
from modelyard_serving.schema.types import Anything, Column, ColumnSchema, Scalar, Schema, Tensor, by_name

if TYPE_CHECKING:
    import pandas as pd
else:
    from modelyard_serving.lazy import pandas as pd


def frame_from_records(records: Any, schema: Schema | None) -> pd.DataFrame:
    """`[{column: value, …}, …]`. Raises RequestError (400 BAD_REQUEST)."""
    if not isinstance(records, list):
        received = "dictionary" if isinstance(records, dict) else f"type {type(records)}"
        raise invalid_input(f"Dataframe records format must be a list of records. Got {received}.")
    try:
        frame = pd.DataFrame(records)
    except Exception as error:
        raise _no_frame("records", error) from error
    return _cast(frame, schema)


def frame_from_split(split: Any, schema: Schema | None) -> pd.DataFrame:
    """`{"columns": […], "index": […], "data": [[…], …]}`, where only `data` is required. Raises RequestError (400)."""
    if not isinstance(split, dict):
        received = "list" if isinstance(split, list) else f"type {type(split)}"
        raise invalid_input(f"Dataframe split format must be a dictionary. Got {received}.")
    if "data" not in split or split.keys() - {"columns", "index", "data"}:
        raise invalid_input(
            "Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields."
            f" Got {sorted(split)}."
        )
    try:
        frame = pd.DataFrame(split["data"], index=split.get("index"), columns=split.get("columns"))
    except Exception as error:
        raise _no_frame("split", error) from error
    return _cast(frame, schema)


def _no_frame(orient: str, error: Exception) -> RequestError:
    return invalid_input(
        f"Provided dataframe_{orient} field is not a valid dataframe representation in '{orient}' format."
        f" Error: '{error}'"
    )


def _cast(frame: pd.DataFrame, schema: Schema | None) -> pd.DataFrame:
    """Each column that the schema knows in the schema's type; the rest as JSON gave it. Works in place.

    Raises RequestError (400 BAD_REQUEST) that names the column and the type.
    """
    if schema is None:
        return frame
    for name, spec in _specs(frame, schema):
        try:
            frame[name] = _cast_column(frame[name], spec)
        except Exception as error:
            raise invalid_input(
                "Data is not compatible with model signature."
                f" Failed to convert column {name} to type '{_target(spec)}'. Error: '{error!r}'"
            ) from error
    return frame


def _specs(frame: pd.DataFrame, schema: Schema) -> Iterable[tuple[Any, Column | Tensor]]:
    """Which of the frame's columns is held to which input."""
    if schema.named:
        return [(name, spec) for name, spec in by_name(schema).items() if name in frame.columns]
    if isinstance(schema, ColumnSchema):
        return list(zip(frame.columns, schema.inputs, strict=False))
    return [(name, schema.inputs[0]) for name in frame.columns]


def _target(spec: Column | Tensor) -> object:
    if isinstance(spec, Tensor):
        return spec.dtype
    return spec.type.pandas if isinstance(spec.type, Scalar) else spec.type


def _cast_column(values: pd.Series[Any], spec: Column | Tensor) -> pd.Series[Any]:
    if isinstance(spec, Tensor):
        return _cast_for_tensor(values, spec)
    # As in MLflow: texts that pandas has typed stay so, and two columns of one name have no one type.
    typed = spec.type is Scalar.string and isinstance(values.dtype, pd.StringDtype)
    if typed or isinstance(spec.type, Anything):
        return values
    if not isinstance(spec.type, Scalar):
        kind, required = spec.type, spec.required
        return values.map(lambda value: enforce_value(value, kind, required=required))
    if spec.type is Scalar.binary:
        return values.map(lambda text: base64.decodebytes(bytes(text, "utf-8")))
    if spec.type is Scalar.datetime:
        return pd.to_datetime(values)
    return values.astype(cast(Any, spec.type.pandas))


def _cast_for_tensor(values: pd.Series[Any], spec: Tensor) -> pd.Series[Any]:
    if spec.dtype == np.dtype(bytes):
        return values.map(lambda text: bytes(text, "utf-8"))
    if isinstance(values.iloc[0], list):
        # Flattened rows of a tensor: their type is settled when they are shaped.
        return values
    return values.astype(cast(Any, spec.dtype))
