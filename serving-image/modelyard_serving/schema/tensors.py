"""Holds array input to a tensor signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard_serving.errors import SchemaError
from modelyard_serving.schema.types import Tensor, TensorSchema

if TYPE_CHECKING:
    import pandas as pd
else:
    from modelyard_serving.lazy import pandas as pd

Values = np.ndarray[Any, np.dtype[Any]]


def enforce_tensors(data: object, schema: TensorSchema) -> Values | dict[str, Values]:
    """The array of an unnamed signature, or an array a name; a DataFrame's columns are shaped into arrays.

    Raises SchemaError.
    """
    if not schema.named:
        return _enforce_unnamed(data, schema.inputs[0])
    if isinstance(data, pd.DataFrame):
        return {spec.name or "": _from_cells(spec.name, data[spec.name], spec) for spec in schema.inputs}
    if isinstance(data, dict):
        return {spec.name or "": _enforce_entry(data[spec.name], spec) for spec in schema.inputs}
    raise SchemaError(
        "This model contains a tensor-based model signature with input names, which suggests a dictionary input"
        " mapping input name to tensor, or a pandas DataFrame input containing columns mapping input name to flattened"
        f" list value from tensor, but an input of type {type(data)} was found."
    )


def _enforce_entry(value: object, spec: Tensor) -> Values:
    if not isinstance(value, np.ndarray):
        raise SchemaError(
            "This model contains a tensor-based model signature with input names, which suggests a dictionary input"
            f" mapping input name to a numpy array, but a dict with value type {type(value)} was found."
        )
    return enforce_tensor(value, spec)


def _enforce_unnamed(data: object, spec: Tensor) -> Values:
    if isinstance(data, np.ndarray):
        return enforce_tensor(data, spec)
    if not isinstance(data, pd.DataFrame):
        raise SchemaError(
            "This model contains a tensor-based model signature with no input names, which suggests a numpy array input"
            f" or a pandas dataframe input with proper column values, but an input of type {type(data)} was found."
        )
    if data.empty:
        raise SchemaError("Input DataFrame is empty.")
    width = len(data.columns)
    if width == 1:
        return _from_cells(None, data.iloc[:, 0], spec)
    if spec.shape != (-1, width):
        raise SchemaError(
            "This model contains a model signature with an unnamed input. Since the input data is a pandas DataFrame"
            " containing multiple columns, the input shape must be of the structure (-1, number_of_dataframe_columns)."
            f" Instead, the input DataFrame passed had {width} columns and an input shape of {spec.shape} with all"
            " values within the DataFrame of scalar type. Please adjust the passed in DataFrame to match the expected"
            " structure"
        )
    return enforce_tensor(data.to_numpy(), spec)


def enforce_tensor(values: Values, spec: Tensor) -> Values:
    """`values` if shape and dtype are the spec's (-1: any length); ragged arrays pass where the spec leaves room."""
    any_object = spec.shape == (-1,) and spec.dtype == np.dtype(object)
    ragged = values.dtype == np.dtype(object) and values.ndim == 1 and len(spec.shape) > 1 and -1 in spec.shape[1:]
    if any_object or ragged:
        return values
    fits = len(spec.shape) == values.ndim and all(
        expected in (-1, actual) for expected, actual in zip(spec.shape, values.shape, strict=True)
    )
    if not fits:
        raise SchemaError(f"Shape of input {values.shape} does not match expected shape {spec.shape}.")
    # The length of text and bytes is no part of a tensor's type.
    actual = np.dtype(values.dtype.kind) if values.dtype.kind in "US" else values.dtype
    if actual != spec.dtype:
        raise SchemaError(f"dtype of input {values.dtype} does not match expected dtype {spec.dtype}")
    return values


def _from_cells(name: str | None, column: pd.Series[Any], spec: Tensor) -> Values:
    """A column of scalars, or of flattened rows of the tensor, as the tensor."""
    if spec.shape[0] != -1 or -1 in spec.shape[1:]:
        label = f"input {name}" if name else "the unnamed input"
        raise SchemaError(
            "For pandas dataframe input, the first dimension of shape must be a variable dimension and other dimensions"
            f" must be fixed, but in model signature the shape of {label} is {spec.shape}."
        )
    first = column.iloc[0]
    if np.isscalar(first):
        if spec.shape not in ((-1,), (-1, 1)):
            raise SchemaError(
                f"The input pandas dataframe column '{name}' contains scalar values, which requires the shape to be"
                f" (-1,) or (-1, 1), but got tensor spec shape of {spec.shape}."
            )
        return enforce_tensor(np.array(column, dtype=spec.dtype).reshape(spec.shape), spec)
    if isinstance(first, list) and np.isscalar(first[0]):
        return _from_rows(name, column, spec)
    raise SchemaError(
        "Because the model signature requires tensor spec input, the input pandas dataframe values should be either"
        " scalar value, python list containing scalar values or numpy array containing scalar values, other types are"
        " not supported."
    )


def _from_rows(name: str | None, column: pd.Series[Any], spec: Tensor) -> Values:
    try:
        values = np.vstack(column.tolist()).reshape(spec.shape).astype(spec.dtype)
    except ValueError:
        values = None
    if values is None or len(values) != len(column):
        raise SchemaError(
            f"The value in the Input DataFrame column '{name}' could not be converted to the expected shape of:"
            f" '{spec.shape}'. Ensure that each of the input list elements are of uniform length and that the data can"
            f" be coerced to the tensor type '{spec.dtype}'"
        )
    return values
