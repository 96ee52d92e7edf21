"""The short way from the commonest request to the model's input.

Most requests hold scalars that already have the types of a named column signature. For those, and only those, this
builds the very table that parsing, casting and enforcement would arrive at, column order included, at a tenth of the
cost. Anything else is left to the long way, which knows how to convert and to complain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import numpy as np

from modelyard_serving.schema.types import ColumnSchema, Scalar, Schema
from modelyard_serving.table import CellTypes, Table

Values = list[Any]
_SPLIT_KEYS = {"columns", "data"}


@dataclass(frozen=True)
class _Kind:
    """Which JSON values are taken for a scalar type without converting anything that could be lost."""

    types: frozenset[type]
    largest: int
    """Of integers: within it, they are exact in the target type whatever the order of conversions."""


_KINDS: Mapping[Scalar, _Kind] = {
    Scalar.double: _Kind(frozenset({float, int}), 2**53),
    Scalar.float: _Kind(frozenset({float, int}), 2**53),
    Scalar.long: _Kind(frozenset({int}), 2**63 - 1),
    Scalar.integer: _Kind(frozenset({int}), 2**31 - 1),
    Scalar.boolean: _Kind(frozenset({bool}), 1),
    Scalar.string: _Kind(frozenset({str}), 0),
}


@dataclass(frozen=True)
class _Column:
    name: str
    required: bool
    kind: _Kind
    dtype: Any


class QuickReader:
    """Reads `dataframe_split` and `dataframe_records` for one schema, or declines."""

    def __init__(self, schema: Schema | None) -> None:
        self._columns = _quick_columns(schema)
        self._names = [column.name for column in self._columns]
        self._required = frozenset(column.name for column in self._columns if column.required)
        kinds = {(column.dtype, column.kind) for column in self._columns}
        # Columns of one type are one block of memory: making it at once is what saves most.
        self._dtype: Any = None
        self._kind: _Kind | None = None
        if len(kinds) == 1:
            self._dtype, self._kind = kinds.pop()
        self._all = tuple(self._names)
        self._kinds = [column.kind for column in self._columns]
        self._types = CellTypes(tuple(column.dtype for column in self._columns))

    def read(self, document: Any) -> Table | None:
        """The model's input, or None if the document must go the long way. Never raises."""
        if not self._columns or type(document) is not dict or len(document) != 1:
            return None
        if (split := document.get("dataframe_split")) is not None:
            return self._split(split)
        records = document.get("dataframe_records")
        if type(records) is list and len(records) == 1 and type(records[0]) is dict and [*records[0]] == self._names:
            return self.rows([[*records[0].values()]])
        return self._table(_columns_of_records(records))

    def _split(self, split: Any) -> Table | None:
        if type(split) is not dict or split.keys() != _SPLIT_KEYS:
            return None
        if split["columns"] == self._names:
            return self.rows(split["data"])
        return self._table(_columns_of_split(split))

    def rows(self, rows: Any) -> Table | None:
        """A table of rows that hold all columns in the schema's order; None if they do not."""
        if not self._columns or type(rows) is not list or not rows:
            return None
        width = len(self._names)
        for row in rows:
            if type(row) is not list or len(row) != width:
                return None
        values = rows[0] if len(rows) == 1 else list(chain.from_iterable(rows))
        if self._kind is None:
            exact = all(_exact(values[at::width], kind) for at, kind in enumerate(self._kinds))
            return Table(self._all, len(rows), cells=values, types=self._types) if exact else None
        if not _exact(values, self._kind):
            return None
        # Rows lie side by side, as pandas and ONNX Runtime want them; a block has a column a line.
        flat = np.array(values, dtype=self._dtype).reshape(len(rows), width)
        return Table(self._all, len(rows), block=flat.T)

    def _table(self, given: Mapping[str, Values] | None) -> Table | None:
        if given is None or not self._required <= given.keys():
            return None
        present = [column for column in self._columns if column.name in given]
        if not present or not all(_exact(given[column.name], column.kind) for column in present):
            return None
        names = tuple([column.name for column in present])
        rows = len(given[names[0]])
        if self._dtype is None:
            arrays = {column.name: np.array(given[column.name], dtype=column.dtype) for column in present}
            return Table(names, rows, columns=arrays)
        return Table(names, rows, block=np.array([given[name] for name in names], dtype=self._dtype))


def _quick_columns(schema: Schema | None) -> tuple[_Column, ...]:
    """The columns of a schema whose every type is simple; else none."""
    if not isinstance(schema, ColumnSchema) or not schema.named:
        return ()
    columns = []
    for spec in schema.inputs:
        if not isinstance(spec.type, Scalar) or spec.type not in _KINDS:
            return ()
        columns.append(_Column(spec.name or "", spec.required, _KINDS[spec.type], np.dtype(spec.type.pandas)))
    return tuple(columns) if len({column.name for column in columns}) == len(columns) else ()


def _columns_of_split(split: Mapping[str, Any]) -> dict[str, Values] | None:
    names, rows = split["columns"], split["data"]
    if not (isinstance(names, list) and isinstance(rows, list) and rows and set(map(type, names)) == {str}):
        return None
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {len(names)} or len(set(names)) != len(names):
        return None
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _columns_of_records(records: Any) -> dict[str, Values] | None:
    if not (isinstance(records, list) and records and set(map(type, records)) == {dict}):
        return None
    names = cast("Sequence[Mapping[str, Any]]", records)[0].keys()
    if any(record.keys() != names for record in records):
        return None
    return {name: [record[name] for record in records] for name in names}


def _exact(values: Values, kind: _Kind) -> bool:
    if len(values) == 1:
        type_ = type(values[0])
        return type_ in kind.types and (type_ is not int or abs(values[0]) <= kind.largest)
    types = set(map(type, values))
    if not types <= kind.types:
        return False
    # A maximum over a NaN may be NaN, which is not within the limit: then the long way decides.
    return int not in types or bool(max(map(abs, values)) <= kind.largest)
