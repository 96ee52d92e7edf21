"""Reads `instances` and `inputs`: JSON to arrays, in the manner of TensorFlow Serving's API.

Format: https://www.tensorflow.org/tfx/serving/api_rest#request_format_2
"""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_serving.errors import RequestError, invalid_input
from modelyard_serving.schema.nested import enforce_value
from modelyard_serving.schema.types import Anything, Array, Column, Scalar, Schema, Tensor, by_name, required_names

Spec = Column | Tensor | None


def read_instances(data: Any, schema: Schema | None) -> Any:
    """The row format: a list of rows, or of mappings that become one array a name. Raises RequestError (400)."""
    try:
        specs = by_name(schema) if schema else {}
        if isinstance(data, list) and data and isinstance(data[0], dict):
            columns: dict[str, list[Any]] = {}
            for row in data:
                for name, value in row.items():
                    columns.setdefault(name, []).append(_convert(value, specs.get(name)))
            data = {name: np.array(values) for name, values in columns.items()}
        else:
            data = _read(data, schema)
        _require_equal_lengths(data, schema)
    except RequestError:
        raise
    except Exception as error:
        raise _unreadable(error) from error
    return data


def read_inputs(data: Any, schema: Schema | None) -> Any:
    """The column format: an array, a mapping of names to arrays, or a scalar. Raises RequestError (400)."""
    try:
        return _read(data, schema)
    except RequestError:
        raise
    except Exception as error:
        raise _unreadable(error) from error


def _read(data: Any, schema: Schema | None) -> Any:
    specs = by_name(schema) if schema else {}
    if len(specs) == 1 and isinstance(data, list) and not any(isinstance(item, dict) for item in data):
        # A list can only be meant for the one input there is.
        data = {next(iter(specs)): data}
    elif schema and not schema.named and not (isinstance(data, list) or np.isscalar(data)):
        raise invalid_input(
            "Failed to parse input data. This model contains an un-named  model signature which expects a single"
            f" n-dimensional array or a single value as input, however, an input of type {type(data)} was found."
        )
    if isinstance(data, dict):
        return {name: _convert(value, specs.get(name)) for name, value in data.items()}
    if isinstance(data, list) and all(isinstance(item, dict) for item in data):
        return [{name: _convert(value, specs.get(name)) for name, value in row.items()} for row in data]
    return _convert(data, schema.inputs[0] if schema else None)


def _convert(data: Any, spec: Spec) -> Any:
    """One value, or list of values, as an array of the input's type. Raises RequestError (400)."""
    try:
        if spec is None:
            return np.array(data)
        if isinstance(spec, Tensor):
            return np.array(data, dtype=spec.dtype)
        if isinstance(spec.type, Anything):
            return data
        if not isinstance(spec.type, Scalar):
            value = enforce_value(data, spec.type, required=spec.required)
            return np.array(value) if isinstance(spec.type, Array) else value
        if isinstance(data, list):
            return np.array(data, spec.type.numpy)
        return np.array([data], spec.type.numpy)[0]
    except Exception as error:
        raise invalid_input(str(error)) from error


def _require_equal_lengths(data: Any, schema: Schema | None) -> None:
    """Rows have a value for each input, so the arrays made of them are of one length."""
    if not isinstance(data, dict):
        return
    names = set(data)
    if schema and schema.named:
        arrays = {name for name, spec in by_name(schema).items() if isinstance(spec, Column) and _is_array(spec)}
        names &= set(required_names(schema)) - arrays
    lengths = {len(data[name]) for name in names if isinstance(data[name], list | np.ndarray)}
    if len(lengths) > 1:
        raise invalid_input("The length of values for each input/column name are not the same")


def _is_array(spec: Column) -> bool:
    return isinstance(spec.type, Array)


def _unreadable(error: Exception) -> RequestError:
    return invalid_input(f"Ensure that the input is a valid JSON-formatted string.\nError: {error!r}")
