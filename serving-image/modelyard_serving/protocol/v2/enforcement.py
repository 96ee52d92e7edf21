"""The long way from tensors to the model's input: conversions and complaints as in MLflow's own protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from modelyard_serving.errors import invalid_input
from modelyard_serving.protocol.frames import frame_from_split
from modelyard_serving.protocol.v2.datatypes import leaf
from modelyard_serving.protocol.v2.inputs import is_matrix
from modelyard_serving.protocol.v2.message import InputTensor, Values
from modelyard_serving.schema.enforce import enforce
from modelyard_serving.schema.types import (
    Anything,
    Column,
    ColumnSchema,
    Scalar,
    Schema,
    Tensor,
    TensorSchema,
    by_name,
)

PANDAS = "pd"
"""MLServer's content type of a request whose tensors are the columns of a DataFrame."""
MAX_TEXT_BYTES = 256 * 1024 * 1024
"""Of an array of text of one width, which is as wide as its longest element."""


def enforced(tensors: Sequence[InputTensor], schema: Schema | None, content_type: str | None = None) -> Any:
    """What the signature asks for: a DataFrame, an array or a dict of arrays.

    Raises RequestError: 400 BAD_REQUEST for values that cannot be converted, 400 INVALID_PARAMETER_VALUE for data that
    does not satisfy the signature.
    """
    _require_distinct(tensors)
    if isinstance(schema, ColumnSchema):
        return enforce(_frame(tensors, schema), schema)
    if isinstance(schema, TensorSchema) and (schema.named or len(tensors) == 1):
        return enforce(_arrays(tensors, schema), schema)
    if schema is None and len(tensors) == 1 and content_type != PANDAS:
        return _plain(tensors[0])
    return enforce(_frame(tensors, schema), schema)


def _require_distinct(tensors: Sequence[InputTensor]) -> None:
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise invalid_input("Two inputs have the same name.")


def _frame(tensors: Sequence[InputTensor], schema: Schema | None) -> Any:
    columns = schema.inputs if isinstance(schema, ColumnSchema) else ()
    names = [column.name for column in columns]
    scalars = all(isinstance(column.type, Scalar) for column in columns)
    if len(tensors) == 1 and columns and is_matrix(tensors[0], names, scalars=scalars):
        whole = tensors[0]
        tensors = [
            replace(whole, name=name or str(position), values=whole.values[:, position])
            for position, name in enumerate(names)
        ]
    specs = _column_specs(tensors, schema)
    # Columns without names are called by their positions, as when rows come as lists.
    labels = [tensor.name for tensor in tensors] if not columns or names[0] else range(len(tensors))
    cells = {label: _cells(tensor, spec) for label, tensor, spec in zip(labels, tensors, specs, strict=True)}
    if len(lengths := {len(values) for values in cells.values()}) > 1:
        raise invalid_input(f"The inputs differ in their number of rows: {sorted(lengths)}.")
    return frame_from_split({"data": cells}, _without_binary(schema))


def _column_specs(tensors: Sequence[InputTensor], schema: Schema | None) -> list[Column | None]:
    """The column that each tensor is for."""
    if not isinstance(schema, ColumnSchema):
        return [None] * len(tensors)
    if not schema.named:
        return [*schema.inputs, *[None] * len(tensors)][: len(tensors)]
    known = by_name(schema)
    specs = [known.get(tensor.name) for tensor in tensors]
    return [spec if isinstance(spec, Column) else None for spec in specs]


def _cells(tensor: InputTensor, spec: Column | None) -> Any:
    """A tensor as a column: an array of single values, or a list of lists."""
    values = tensor.values
    kind = spec.type if spec else None
    if not values.ndim:
        raise invalid_input(f"The input '{tensor.name}' has no dimension for rows.")
    if values.ndim == 2 and values.shape[1] == 1 and (kind is None or isinstance(kind, Scalar)):
        values = values.reshape(len(values))
    if isinstance(kind, Scalar) and values.ndim > 1:
        raise invalid_input(
            f"The input '{tensor.name}' must have the shape [{len(values)}] or [{len(values)}, 1],"
            f" not {list(values.shape)}."
        )
    if values.dtype == object:
        values = _elements(tensor, values, kind)
    elif isinstance(kind, Scalar):
        _require_exact(tensor, values, kind.numpy)
    return values if values.ndim == 1 else values.tolist()


def _elements(tensor: InputTensor, values: Values, kind: Any) -> Values:
    """BYTES as what the column holds: bytes, JSON or text."""
    if kind is Scalar.binary:
        return _mapped(tensor, values, _bytes_of(tensor.content_type))
    texts = _texts(tensor, values)
    if kind is not None and not isinstance(kind, Anything) and leaf(kind) is None:
        return _mapped(tensor, texts, lambda text: None if text is None else json.loads(text))
    return texts


def _bytes_of(content_type: str | None) -> Any:
    def convert(value: Any) -> Any:
        content = value.encode() if isinstance(value, str) else value
        return base64.b64decode(content, validate=True) if content_type == "base64" and content is not None else content

    return convert


def _texts(tensor: InputTensor, values: Values) -> Values:
    return _mapped(tensor, values, lambda value: value.decode() if isinstance(value, bytes) else value)


def _mapped(tensor: InputTensor, values: Values, convert: Any) -> Values:
    array = np.empty(values.size, dtype=object)
    try:
        for position, value in enumerate(values.ravel().tolist()):
            array[position] = convert(value)
    except (ValueError, RecursionError) as error:  # What is no UTF-8, no base64 or no JSON.
        raise invalid_input(f"The input '{tensor.name}' cannot be read: {error}") from error
    return array.reshape(values.shape)


def _require_exact(tensor: InputTensor, values: Values, target: np.dtype[Any]) -> None:
    """Values may be rounded to a floating-point number, but never wrap around or lose a fraction."""
    if target.kind not in "iu" or values.dtype.kind not in "fiu" or np.can_cast(values.dtype, target):
        return
    limits = np.iinfo(target)
    if values.dtype.kind == "f":
        numbers = values.astype(np.float64)
        # The upper limit itself is no double for 64 bits: the next power of two is, and is too large.
        exact = (numbers == np.floor(numbers)) & (numbers >= float(limits.min)) & (numbers < float(limits.max) + 1)
    else:
        exact = (values <= limits.max) & (values >= limits.min)
    if not exact.all():
        raise invalid_input(
            "Data is not compatible with model signature."
            f" Failed to convert column {tensor.name} to type '{target}': it would lose something of {tensor.datatype}"
        )


def _without_binary(schema: Schema | None) -> Schema | None:
    """The schema to convert by: bytes that came as such are not base64 any more."""
    if not isinstance(schema, ColumnSchema):
        return schema
    return ColumnSchema(
        tuple(replace(column, type=Anything()) if column.type is Scalar.binary else column for column in schema.inputs)
    )


def _arrays(tensors: Sequence[InputTensor], schema: TensorSchema) -> Values | dict[str, Values]:
    if len(schema.inputs) == 1 and len(tensors) == 1:
        array = _array(tensors[0], schema.inputs[0])
        return {schema.inputs[0].name: array} if schema.inputs[0].name else array
    specs = by_name(schema)
    arrays = {}
    for tensor in tensors:
        spec = specs.get(tensor.name)
        arrays[tensor.name] = _array(tensor, spec) if isinstance(spec, Tensor) else tensor.values
    return arrays


def _array(tensor: InputTensor, spec: Tensor) -> Values:
    """A tensor in the type of the signature's. Raises RequestError (400 BAD_REQUEST)."""
    values, dtype = tensor.values, spec.dtype
    if values.dtype == dtype:
        return _texts(tensor, values) if dtype.kind == "O" else values
    try:
        if values.dtype == object:
            elements = values if dtype.kind == "S" else _texts(tensor, values)
            return np.array(_bounded(elements, 1 if dtype.kind == "S" else 4), dtype=dtype)
        _require_exact(tensor, values, dtype)
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid_input(f"The input '{tensor.name}' cannot be converted to {dtype}: {error}") from error


def _bounded(values: Values, width: int) -> list[Any]:
    """Texts for an array whose every element takes the room of the longest. Raises ValueError if that is too much."""
    elements = values.ravel().tolist()
    if None in elements:
        raise ValueError("there is null")
    if max(map(len, elements), default=0) * len(elements) * width > MAX_TEXT_BYTES:
        raise ValueError("the texts are too long")
    return values.tolist()  # type: ignore[no-any-return]


def _plain(tensor: InputTensor) -> Values:
    """For a model without a signature: the array as it came."""
    return _texts(tensor, tensor.values) if tensor.values.dtype == object else tensor.values
