"""The short way arrives where the long way does, or is not taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard_serving.protocol.parse import parse_json
from modelyard_serving.protocol.quick import QuickReader
from modelyard_serving.schema.enforce import enforce
from modelyard_serving.schema.types import Column, ColumnSchema, Schema, Tensor, TensorSchema, read_type

TYPES = ["double", "float", "long", "integer", "boolean", "string"]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "double": st.floats() | st.integers(-(2**55), 2**55),
    "float": st.floats() | st.integers(-(2**55), 2**55),
    "long": st.integers(-(2**64), 2**64),
    "integer": st.integers(-(2**32), 2**32),
    "boolean": st.booleans(),
    "string": st.text(max_size=4),
}


def schema(*columns: tuple[str, str, bool]) -> ColumnSchema:
    return ColumnSchema(tuple(Column(read_type({"type": kind}), name, required) for name, kind, required in columns))


@st.composite
def cases(draw: st.DrawFn) -> tuple[ColumnSchema, dict[str, Any]]:
    kinds = draw(
        st.lists(st.sampled_from(TYPES), min_size=1, max_size=5) | st.sampled_from(TYPES).map(lambda k: [k] * 4)
    )
    columns = [(f"c{i}", kind, draw(st.booleans())) for i, kind in enumerate(kinds)]
    present = [column for column in columns if column[2] or draw(st.booleans())]
    cells: dict[str, st.SearchStrategy[Any]] = {name: VALUES[kind] for name, kind, _ in draw(st.permutations(present))}
    if draw(st.booleans()):
        cells["extra"] = st.text(max_size=2)
    if cells and draw(st.integers(0, 3)) == 0:
        cells[draw(st.sampled_from(sorted(cells)))] = st.none() | st.booleans() | st.floats() | st.text(max_size=2)
    rows = draw(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=5))
    names = list(cells)
    split = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
    return schema(*columns), draw(st.sampled_from([{"dataframe_records": rows}, {"dataframe_split": split}]))


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@given(cases())
@settings(max_examples=400, deadline=None)
def test_makes_the_frame_of_the_long_way(case: tuple[ColumnSchema, dict[str, Any]]) -> None:
    columns, document = case
    table = QuickReader(columns).read(document)
    if table is None:
        return
    quick = table.frame()
    assert table.rows == len(quick)
    long = enforce(parse_json(document, columns).data, columns)
    pd.testing.assert_frame_equal(quick, long, check_exact=True)
    assert type(quick.index) is type(long.index)
    assert quick.to_numpy().flags.f_contiguous == long.to_numpy().flags.f_contiguous
    if (floats := table.floats()) is not None:
        assert floats.tobytes() == np.ascontiguousarray(long.to_numpy(dtype=np.float64)).tobytes()


NUMBERS = schema(("a", "double", True), ("b", "double", True))
MIXED = schema(("a", "double", True), ("n", "long", True), ("s", "string", False))


@pytest.mark.parametrize(
    ("columns", "document", "dtypes"),
    [
        (NUMBERS, {"dataframe_records": [{"b": 1, "a": 2.5}]}, {"a": "float64", "b": "float64"}),
        (
            NUMBERS,
            {"dataframe_split": {"columns": ["x", "b", "a"], "data": [[0, 1, 2]]}},
            {"a": "float64", "b": "float64"},
        ),
        (MIXED, {"dataframe_records": [{"a": 1, "n": 2}]}, {"a": "float64", "n": "int64"}),
        (MIXED, {"dataframe_records": [{"a": 1, "n": 2, "s": "x"}]}, {"a": "float64", "n": "int64", "s": "object"}),
    ],
)
def test_takes_the_common_request(columns: ColumnSchema, document: dict[str, Any], dtypes: dict[str, str]) -> None:
    table = QuickReader(columns).read(document)
    assert table is not None
    assert {name: str(dtype) for name, dtype in table.frame().dtypes.items()} == dtypes


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"inputs": [[1, 2]]},
        {"dataframe_records": [{"a": 1, "b": 2}], "params": {}},
        {"dataframe_records": []},
        {"dataframe_records": None},
        {"dataframe_records": {"a": 1, "b": 2}},
        {"dataframe_records": [[1, 2]]},
        {"dataframe_records": [{"a": 1}]},
        {"dataframe_records": [{"a": 1, "b": 2}, {"a": 1}]},
        {"dataframe_records": [{"a": 1, "b": "2"}]},
        {"dataframe_records": [{"a": 1, "b": True}]},
        {"dataframe_records": [{"a": 1, "b": None}]},
        {"dataframe_records": [{"a": 1, "b": 2**53 + 1}]},
        {"dataframe_split": None},
        {"dataframe_split": {"data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": []}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [1, 2]}},
        {"dataframe_split": {"columns": ["a", "a", "b"], "data": [[1, 2, 3]]}},
        {"dataframe_split": {"columns": ["a", 1], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["a", "b"], "index": [5], "data": [[1, 2]]}},
    ],
)
def test_leaves_the_rest_to_the_long_way(document: dict[str, Any]) -> None:
    assert QuickReader(NUMBERS).read(document) is None


@pytest.mark.parametrize(
    "columns",
    [
        None,
        TensorSchema((Tensor(np.dtype(float), (-1, 2)),)),
        ColumnSchema((Column(read_type({"type": "double"})),)),
        schema(("t", "datetime", True)),
        schema(("x", "binary", False), ("a", "double", True)),
        schema(("v", "any", True)),
    ],
)
def test_serves_only_named_columns_of_simple_types(columns: Schema | None) -> None:
    assert QuickReader(columns).read({"dataframe_records": [{"t": "2024-01-01", "x": "", "a": 1.0, "v": 1}]}) is None
