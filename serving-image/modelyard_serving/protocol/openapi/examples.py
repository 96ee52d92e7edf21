"""Requests to show and to try: the model's own input example, or one made from its signature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelyard_serving.protocol.v2.datatypes import BYTES, datatype_of_column, datatype_of_dtype
from modelyard_serving.schema.types import (
    Anything,
    Array,
    ColumnSchema,
    ColumnType,
    Map,
    Object,
    Scalar,
    Schema,
    TensorSchema,
)

FILES = ("serving_input_example.json", "input_example.json")
MAX_FILE_BYTES = 256 * 1024
MAX_ROWS = 2
MAX_EXAMPLE_BYTES = 16 * 1024
_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_SAMPLES: Mapping[Scalar, Any] = {
    Scalar.boolean: True,
    Scalar.integer: 1,
    Scalar.long: 1,
    Scalar.float: 0.5,
    Scalar.double: 0.5,
    Scalar.string: "text",
    Scalar.binary: "Ynl0ZXM=",
    Scalar.datetime: "2024-01-31T12:00:00",
}


def read_example(directory: Path) -> dict[str, Any] | None:
    """The request that MLflow saved beside the model, if it is one and small. Never raises."""
    for name in FILES:
        path = directory / name
        try:
            if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                continue
            document = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict) and document.keys() == {"columns", "data"}:
            return {"dataframe_split": document}
        if isinstance(document, dict) and any(name in document for name in _FORMATS):
            return document
    return None


def mlflow_example(schema: Schema | None, saved: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A request to /invocations; None if nothing is known of the model's input."""
    if saved is not None and (short := _shortened(saved)) is not None:
        return short
    if isinstance(schema, ColumnSchema):
        data = [[_sample(column.type) for column in schema.inputs]]
        names = [column.name for column in schema.inputs]
        return {"dataframe_split": {"columns": names, "data": data} if schema.named else {"data": data}}
    if isinstance(schema, TensorSchema):
        zeros = {spec.name or "": _zeros(spec.shape, spec.dtype) for spec in schema.inputs}
        return {"inputs": zeros if schema.named else zeros[""]}
    return None


def _shortened(saved: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first rows of a saved request; None if it is too long all the same."""
    short = dict(saved)
    for name in ("dataframe_records", "instances"):
        if isinstance(short.get(name), list):
            short[name] = short[name][:MAX_ROWS]
    if isinstance(split := short.get("dataframe_split"), dict) and isinstance(split.get("data"), list):
        short["dataframe_split"] = {key: split[key] for key in ("columns",) if key in split}
        short["dataframe_split"]["data"] = split["data"][:MAX_ROWS]
    return short if len(json.dumps(short)) <= MAX_EXAMPLE_BYTES else None


def rows_of(example: Mapping[str, Any] | None) -> list[Any] | None:
    """The rows of a request to /invocations, as V1 has them; None for formats that are no rows."""
    if example is None:
        return None
    if isinstance(split := example.get("dataframe_split"), dict):
        names, data = split.get("columns"), split.get("data")
        return [dict(zip(names, row, strict=False)) for row in data] if names and data else data
    for name in ("dataframe_records", "instances"):
        if isinstance(example.get(name), list):
            return list(example[name])
    return None


def v1_example(schema: Schema | None, example: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A V1 request of the same data."""
    rows = rows_of(example)
    if rows is None and isinstance(schema, TensorSchema) and not schema.named and example:
        rows = example.get("inputs")
    return {"instances": rows} if rows else None


def v2_example(schema: Schema | None, example: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A V2 request of the same data."""
    if isinstance(schema, TensorSchema):
        return _tensors(schema, (example or {}).get("inputs"))
    rows = rows_of(example)
    if not isinstance(schema, ColumnSchema) or not rows:
        return None
    inputs = []
    for position, column in enumerate(schema.inputs):
        values = [_cell(row, column.name, position) for row in rows]
        if any(value is None for value in values) and not column.required:
            continue
        datatype, dimensions = datatype_of_column(column.type)
        if dimensions > 1 or (datatype == BYTES and not all(isinstance(value, str) for value in values)):
            return None
        name = column.name or f"input-{position}"
        parameters = {"parameters": {"content_type": "base64"}} if column.type is Scalar.binary else {}
        inputs.append({"name": name, "shape": [len(values)], "datatype": datatype, **parameters, "data": values})
    return {"inputs": inputs}


def _cell(row: Any, name: str | None, position: int) -> Any:
    if isinstance(row, dict):
        return row.get(name)
    return row[position] if isinstance(row, list) and position < len(row) else None


def _tensors(schema: TensorSchema, given: Any) -> dict[str, Any]:
    inputs = []
    for position, spec in enumerate(schema.inputs):
        value = given.get(spec.name) if isinstance(given, dict) and spec.name else given
        shape = _shape_of(value)
        if value is None or len(shape) != len(spec.shape):
            value = _zeros(spec.shape, spec.dtype)
            shape = _shape_of(value)
        name = spec.name or f"input-{position}"
        inputs.append({"name": name, "shape": shape, "datatype": datatype_of_dtype(spec.dtype), "data": value})
    return {"inputs": inputs}


def _shape_of(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list) and value:
        shape.append(len(value))
        value = value[0]
    return shape


def _zeros(shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
    value: Any = "text" if dtype.kind in "USO" else np.zeros((), dtype).item()
    for length in reversed(shape):
        value = [value] * min(max(length, 1), 64)
    return value


def _sample(kind: ColumnType) -> Any:
    match kind:
        case Scalar():
            return _SAMPLES[kind]
        case Array():
            return [_sample(kind.items)]
        case Map():
            return {"key": _sample(kind.values)}
        case Object():
            return {item.name: _sample(item.type) for item in kind.properties}
        case Anything():
            return None
