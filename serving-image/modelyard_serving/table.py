"""Rows of named, typed columns, without pandas: what most requests hold, and what ONNX Runtime takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class CellTypes:
    """The types of columns whose values are not in arrays; the same object for all tables of one schema."""

    dtypes: tuple[np.dtype[Any], ...]

    @cached_property
    def floats(self) -> bool:
        """Whether every column goes to float64 in one step, as any of its values does."""
        return all(dtype.kind in "iub" or dtype == np.float64 for dtype in self.dtypes)


# Made for every request: a frozen dataclass takes three times as long to make.
@dataclass(slots=True, eq=False)
class Table:
    """Input that satisfies a named column signature: its columns in the schema's order, each in its schema's type.

    Nobody changes it.
    """

    names: tuple[str, ...]
    rows: int
    block: Array | None = None
    """Where all columns have one type: an array of shape (columns, rows), which pandas takes as it is."""
    columns: Mapping[str, Array] | None = None
    """Where they have not: an array of shape (rows,) for each name."""
    cells: list[Any] | None = None
    """Or the values themselves, row after row: most need no array of their own."""
    types: CellTypes | None = None
    """Of the cells."""

    def column(self, position: int) -> Array:
        """The values of a column, of shape (rows,)."""
        if self.block is not None:
            return self.block[position]  # type: ignore[no-any-return]
        if self.columns is not None:
            return self.columns[self.names[position]]
        assert self.cells is not None
        assert self.types is not None
        return np.array(self.cells[position :: len(self.names)], dtype=self.types.dtypes[position])

    def floats(self) -> Array | None:
        """All values as float64, of shape (rows, columns); None if they are not cells, or that could change one."""
        if self.types is None or not self.types.floats:
            return None
        return np.array(self.cells, dtype=np.float64).reshape(self.rows, len(self.names))

    def frame(self) -> pd.DataFrame:
        """The DataFrame that parsing and enforcing the same request with pandas arrives at."""
        import pandas as pd  # noqa: PLC0415 - most processes never need it

        if self.block is not None:
            # The layout that pandas gives columns: with another one, BLAS may round otherwise.
            block = np.ascontiguousarray(self.block)
            return pd.DataFrame(block.T, columns=pd.Index(self.names, dtype=object), copy=False)
        return pd.DataFrame({name: self.column(position) for position, name in enumerate(self.names)})

    @property
    def layout(self) -> tuple[object, ...]:
        """Equal for tables that `concatenate` can put under one another."""
        if self.types is not None:
            return (self.names, self.types)
        dtypes = (self.block.dtype,) if self.block is not None else tuple(map(_dtype, (self.columns or {}).values()))
        return (self.names, *dtypes)

    @staticmethod
    def concatenate(tables: Sequence[Table]) -> Table:
        """One table of all rows, in order; the tables have the same layout."""
        first, rows = tables[0], sum(table.rows for table in tables)
        if first.block is not None:
            blocks = [table.block for table in tables if table.block is not None]
            return Table(first.names, rows, block=np.concatenate(blocks, axis=1))
        if first.types is not None:
            return Table(
                first.names, rows, cells=[*chain.from_iterable(each.cells or () for each in tables)], types=first.types
            )
        columns = [table.columns for table in tables if table.columns is not None]
        merged = {name: np.concatenate([each[name] for each in columns]) for name in first.names}
        return Table(first.names, rows, columns=merged)


def _dtype(array: Array) -> np.dtype[Any]:
    return array.dtype
