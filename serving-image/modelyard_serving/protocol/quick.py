"""The short way from the commonest request to the model's input.

Most requests hold scalars that already have the types of a named column signature. For those, and only those, this
builds the very DataFrame that parsing, casting and enforcement would arrive at, column order and memory layout
included, at a tenth of the cost. Anything else is left to the long way, which knows how to convert and to complain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from modelyard_serving.schema.types import ColumnSchema, Scalar, Schema

Values = list[Any]


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
        self._required = frozenset(column.name for column in self._columns if column.required)
        dtypes = {column.dtype for column in self._columns}
        # Columns of one type are one block of memory: making it at once is what saves most.
        self._dtype = dtypes.pop() if len(dtypes) == 1 else None
        self._index = pd.Index([column.name for column in self._columns], dtype=object)

    def read(self, document: Mapping[str, Any]) -> pd.DataFrame | None:
        """The model's input, or None if the document must go the long way. Never raises."""
        if not self._columns or len(document) != 1:
            return None
        if (split := document.get("dataframe_split")) is not None:
            return self._frame(_columns_of_split(split))
        return self._frame(_columns_of_records(document.get("dataframe_records")))

    def _frame(self, given: Mapping[str, Values] | None) -> pd.DataFrame | None:
        if given is None or not self._required <= given.keys():
            return None
        present = [column for column in self._columns if column.name in given]
        if not present or not all(_exact(given[column.name], column.kind) for column in present):
            return None
        if self._dtype is None:
            arrays = {column.name: np.array(given[column.name], dtype=column.dtype) for column in present}
            return pd.DataFrame(arrays)
        block = np.array([given[column.name] for column in present], dtype=self._dtype)
        index = self._index if len(present) == len(self._columns) else [column.name for column in present]
        return pd.DataFrame(block.T, columns=index, copy=False)


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


def _columns_of_split(split: Any) -> dict[str, Values] | None:
    if not isinstance(split, dict) or split.keys() != {"columns", "data"}:
        return None
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
    types = set(map(type, values))
    if not types <= kind.types:
        return False
    # A maximum over a NaN may be NaN, which is not within the limit: then the long way decides.
    return int not in types or bool(max(map(abs, values)) <= kind.largest)
