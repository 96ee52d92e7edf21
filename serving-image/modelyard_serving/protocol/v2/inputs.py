"""Tensors as what a signature asks for: one tensor a column, or one for all of them.

As MLServer's `pd` codec has it, a column is a tensor of shape [N] or [N, 1] with the column's name. A single tensor of
shape [N, columns], whatever its name, holds the columns in the signature's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard_serving.protocol.v2.message import InputTensor, Values
from modelyard_serving.schema.types import ColumnSchema, Scalar, Schema
from modelyard_serving.table import Table

_NUMBERS = {Scalar.boolean, Scalar.integer, Scalar.long, Scalar.float, Scalar.double}
_SIMPLE = _NUMBERS | {Scalar.string}


class TableReader:
    """Makes a table for one named column schema, if no conversion could lose anything or needs pandas' rules."""

    def __init__(self, schema: Schema | None) -> None:
        self._columns = simple_columns(schema)
        self._names = tuple(name for name, _ in self._columns)
        self._required = {column.name for column in (schema.inputs if schema else ()) if column.required}
        types = {scalar for _, scalar in self._columns}
        # Columns of one type are one block of memory.
        self._dtype = types.pop().numpy if len(types) == 1 and types <= _NUMBERS else None

    def read(self, tensors: Sequence[InputTensor]) -> Table | None:
        """The table, or None if the tensors must go the long way. Never raises."""
        if not self._columns:
            return None
        if len(tensors) == 1 and is_matrix(tensors[0], self._names, scalars=True):
            return self._matrix(tensors[0].values)
        given: dict[str, Values] = {}
        rows = -1
        for tensor in tensors:
            values = tensor.values
            shape = values.shape
            if tensor.name in given or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
                return None
            if rows not in (-1, shape[0]):
                return None
            rows = shape[0]
            given[tensor.name] = values.reshape(rows)
        if rows < 1 or not given.keys() >= self._required:
            return None
        return self._table(given, rows)

    def _matrix(self, values: Values) -> Table | None:
        rows = len(values)
        if not rows:
            return None
        if self._dtype is None:
            return self._table({name: values[:, position] for position, name in enumerate(self._names)}, rows)
        converted = convert(values, self._dtype)
        return None if converted is None else Table(self._names, rows, block=converted.T)

    def _table(self, given: Mapping[str, Values], rows: int) -> Table | None:
        columns: dict[str, Values] = {}
        for name, scalar in self._columns:
            if name in given:
                values = given[name]
                converted = _texts(values) if scalar is Scalar.string else convert(values, scalar.numpy)
                if converted is None:
                    return None
                columns[name] = converted
        names = tuple(columns)
        if self._dtype is not None:
            return Table(names, rows, block=np.array(list(columns.values())))
        return Table(names, rows, columns=columns)


def simple_columns(schema: Schema | None) -> tuple[tuple[str, Scalar], ...]:
    """The columns of a schema whose every type is simple; else none."""
    if not isinstance(schema, ColumnSchema) or not schema.named:
        return ()
    columns = [(column.name or "", column.type) for column in schema.inputs if isinstance(column.type, Scalar)]
    if len(columns) != len(schema.inputs) or not {scalar for _, scalar in columns} <= _SIMPLE:
        return ()
    return tuple(columns) if len(dict(columns)) == len(columns) else ()


def is_matrix(tensor: InputTensor, names: Sequence[str | None], *, scalars: bool) -> bool:
    """Whether a request's only tensor holds all columns. `scalars`: whether each column holds scalars."""
    shape = tensor.values.shape
    if len(shape) != 2 or shape[1] != len(names):
        return False
    # [N, 1] under the one column's name is that column; where columns hold arrays, a tensor of its name is meant so.
    return scalars or tensor.name not in names


def convert(values: Values, dtype: np.dtype[Any]) -> Values | None:
    """Numbers as another type, in the way of pandas; None where something could be lost or only pandas knows."""
    if values.dtype == dtype:
        return values
    kind, target = values.dtype.kind, dtype.kind
    if target == "f" and kind in "biuf":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    if target in "iu" and kind in "iub" and np.can_cast(values.dtype, dtype):
        return values.astype(dtype)
    return None


def _texts(values: Values) -> Values | None:
    """BYTES as str; None unless all of them are there and UTF-8."""
    if values.dtype != object:
        return None
    elements = values.tolist()
    types = set(map(type, elements))
    if types == {str}:
        return values
    if types != {bytes}:
        return None
    try:
        texts = [element.decode() for element in elements]
    except UnicodeDecodeError:
        return None
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
