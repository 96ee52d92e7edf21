"""The short way from the commonest JSON request to the model's input: no object a tensor, no array a column.

For tensors of exactly the data types of a named column signature, either one a column or one for all of them, this
builds the very table that reading them one by one arrives at, several times as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from modelyard_serving.protocol.v2.datatypes import datatype_of_column
from modelyard_serving.protocol.v2.inputs import simple_columns
from modelyard_serving.schema.types import Scalar, Schema
from modelyard_serving.table import Table

_TYPES: Mapping[Scalar, frozenset[type]] = {
    Scalar.double: frozenset({float, int}),
    Scalar.float: frozenset({float, int}),
    Scalar.long: frozenset({int}),
    Scalar.integer: frozenset({int}),
    Scalar.boolean: frozenset({bool}),
    Scalar.string: frozenset({str}),
}
_TENSOR_KEYS = {"name", "datatype", "shape", "data"}


@dataclass(frozen=True)
class _Column:
    name: str
    required: bool
    datatype: str
    types: frozenset[type]
    dtype: Any


class QuickTensors:
    """Reads the `inputs` of JSON requests for one schema, or declines."""

    def __init__(self, schema: Schema | None) -> None:
        required = {column.name for column in (schema.inputs if schema else ()) if column.required}
        columns = [
            _Column(name, name in required, datatype_of_column(scalar)[0], _TYPES[scalar], scalar.pandas)
            for name, scalar in simple_columns(schema)
        ]
        self._names = tuple(column.name for column in columns)
        self._columns = {column.name: column for column in columns}
        self._required = {column.name for column in columns if column.required}
        # Columns of one type are one block of memory.
        self._one = columns[0] if len({column.datatype for column in columns}) == 1 else None
        if self._one is not None and self._one.dtype is object:
            self._one = None

    def read(self, inputs: Any) -> Table | None:
        """The table, or None if the tensors must go the long way. Never raises."""
        if type(inputs) is not list or not inputs or not self._columns:
            return None
        try:
            if len(inputs) == 1 and len(self._names) > 1:
                return self._matrix(inputs[0])
            return self._by_column(inputs)
        except (OverflowError, ValueError):  # A number beyond the type.
            return None

    def _matrix(self, tensor: Any) -> Table | None:
        one, width = self._one, len(self._names)
        if one is None or type(tensor) is not dict or tensor.keys() != _TENSOR_KEYS:
            return None
        shape = tensor["shape"]
        if type(shape) is not list or len(shape) != 2 or type(shape[0]) is not int or type(shape[1]) is not int:
            return None
        data = _flat(tensor["data"], shape[0], width)
        meant = tensor["datatype"] == one.datatype and type(tensor["name"]) is str and shape[1] == width
        if not meant or data is None or not set(map(type, data)) <= one.types:
            return None
        return Table(self._names, shape[0], block=np.array(data, dtype=one.dtype).reshape(shape).T)

    def _by_column(self, inputs: list[Any]) -> Table | None:
        given: dict[str, list[Any]] = {}
        rows = 0
        for tensor in inputs:
            if type(tensor) is not dict or tensor.keys() != _TENSOR_KEYS:
                return None
            name, data, shape = tensor["name"], tensor["data"], tensor["shape"]
            column = self._columns.get(name) if type(name) is str else None
            if column is None or name in given or type(data) is not list or tensor["datatype"] != column.datatype:
                return None
            rows = rows or len(data)
            # A list equals [1] if it is [True] or [1.0], too.
            if len(data) != rows or shape not in ([rows], [rows, 1]) or set(map(type, shape)) != {int}:
                return None
            if not set(map(type, data)) <= column.types:
                return None
            given[name] = data
        if not rows or not given.keys() >= self._required:
            return None
        return self._table(given, rows)

    def _table(self, given: Mapping[str, list[Any]], rows: int) -> Table:
        names = self._names if len(given) == len(self._names) else tuple(name for name in self._names if name in given)
        if self._one is not None:
            return Table(names, rows, block=np.array([given[name] for name in names], dtype=self._one.dtype))
        return Table(
            names, rows, columns={name: np.array(given[name], dtype=self._columns[name].dtype) for name in names}
        )


def _flat(data: Any, rows: int, width: int) -> list[Any] | None:
    """The elements of a matrix, in one list or a list a row; None if they are too few, too many or none."""
    if type(data) is not list or not data:
        return None
    if type(data[0]) is not list:
        return data if len(data) == rows * width else None
    if len(data) != rows or any(type(row) is not list or len(row) != width for row in data):
        return None
    return data[0] if rows == 1 else list(chain.from_iterable(data))
