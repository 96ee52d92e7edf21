"""A batch gives every call what it would have got alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelyard_serving.call import Call
from modelyard_serving.engine.batch import fits, merge, split
from modelyard_serving.table import CellTypes, Table


def block(*rows: list[float], names: tuple[str, ...] = ("a", "b"), dtype: str = "float64", **fields: Any) -> Call:
    table = Table(names, len(rows), block=np.array(rows, dtype=dtype).T)
    return Call(table, len(rows), **fields)


def mixed(rows: int) -> Call:
    columns = {"n": np.arange(rows), "s": np.array(["x"] * rows, dtype=object)}
    return Call(Table(("n", "s"), rows, columns=columns), rows)


TYPES = CellTypes((np.dtype("int64"), np.dtype("float64")))


def cells(*rows: list[float], types: CellTypes = TYPES) -> Call:
    values = [value for row in rows for value in row]
    return Call(Table(("n", "f"), len(rows), cells=values, types=types), len(rows))


@pytest.mark.parametrize(
    ("first", "other", "joins"),
    [
        (block([1, 2]), block([3, 4]), True),
        (mixed(1), mixed(2), True),
        (cells([1, 2.5]), cells([3, 4.5], [5, 6.5]), True),
        (cells([1, 2.5]), cells([3, 4.5], types=CellTypes((np.dtype(bool), np.dtype("float64")))), False),
        (cells([1, 2.5]), mixed(1), False),
        (block([1, 2]), block([3, 4], dtype="float32"), False),
        (block([1, 2]), block([3, 4], names=("a", "c")), False),
        (block([1, 2]), mixed(1), False),
        (block([1, 2]), block([3, 4], methods=("predict_proba",)), False),
        (block([1, 2]), block([3, 4], params={"depth": 3}), False),
        (block([1, 2], params={"depth": 3}), block([3, 4], params={"depth": 3}), False),
        (block([1, 2]), Call(np.zeros((1, 2)), 1), False),
        (block([1, 2]), block([3, 4], [5, 6], [7, 8]), False),
    ],
)
def test_only_calls_of_one_kind_join(first: Call, other: Call, joins: bool) -> None:
    assert fits(first, other, first.rows, limit=3) is joins


def arrays(rows: int) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.float64, (2, rows), elements=st.floats(width=64))


@given(st.lists(st.integers(1, 4).flatmap(arrays), min_size=1, max_size=6))
def test_rows_come_back_to_the_calls_that_they_came_from(blocks: list[Any]) -> None:
    calls = [Call(Table(("a", "b"), each.shape[1], block=each), each.shape[1]) for each in blocks]
    merged = merge(calls)
    assert merged.rows == sum(call.rows for call in calls)
    rows, first = merged.data.block.T.copy(), merged.data.column(0).copy()
    parts = split((rows, first), calls)
    assert parts is not None
    for (whole, column), each in zip(parts, blocks, strict=True):
        assert whole.tobytes() == np.ascontiguousarray(each.T).tobytes()
        assert column.tobytes() == each[0].tobytes()


def test_rows_of_cells_come_one_after_the_other() -> None:
    merged = merge([cells([1, 2.5]), cells([3, 4.5], [2**53 + 1, 6.5])])
    assert merged.data.frame().to_dict("list") == {"n": [1, 3, 2**53 + 1], "f": [2.5, 4.5, 6.5]}
    assert merged.data.floats().tolist() == [[1, 2.5], [3, 4.5], [2**53, 6.5]]


@pytest.mark.parametrize(
    "output", [[1, 2], np.float64(3), np.array([1, 2, 3]), np.zeros((1, 2)), "ab", {"a": [1, 2]}, None]
)
def test_an_output_that_is_not_a_row_for_each_row_is_not_split(output: Any) -> None:
    assert split((output,), [block([1, 2]), block([3, 4])]) is None
