"""What an accelerated model does with input that its original refuses, or is given in another form."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard_serving.flavors.accelerated import Column, Contract, InputReader
from modelyard_serving.table import CellTypes, Table
from tests.unit.serving.acceleration.conftest import Tamed
from tests.unit.serving.acceleration.zoo import MIXED, NUMBERS

Get = Callable[[str], Tamed]
ROW = NUMBERS.iloc[:1]


def _attempt(method: Any, data: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return method(data, None)
        except Exception as error:
            return repr(error)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return bool(np.array_equal(one, other))
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.5e38, -1e300])
@pytest.mark.parametrize(
    "name", ["forest, whole numbers", "forest, gaps", "histogram boosting, regression", "XGBoost", "LightGBM", "ridge"]
)
def test_refuses_numbers_in_the_originals_words_or_answers_as_it_does(name: str, value: float, tamed: Get) -> None:
    model = tamed(name)
    frame = ROW.assign(b=value)

    assert _same(_attempt(model.predictor().predict, frame), _attempt(model.original.predictor.predict, frame))


def test_refuses_an_unknown_category_by_its_name(tamed: Get) -> None:
    model = tamed("strict one-hot and forest")
    frame = MIXED.iloc[:1].assign(plan="brand new")

    refusal = _attempt(model.predictor().predict, frame)

    assert "brand new" in refusal
    assert refusal == _attempt(model.original.predictor.predict, frame)


@pytest.mark.parametrize("text", ["", "new", "é", "\ud800", "日本", "basic", None, np.nan, 5, True])
def test_takes_any_text_where_the_original_does(text: Any, tamed: Get) -> None:
    model = tamed("one-hot and forest")
    frame = MIXED.iloc[:3].assign(plan=pd.Series([text, "plus", text], dtype=object))

    assert _same(_attempt(model.predictor().predict, frame), _attempt(model.original.predictor.predict, frame))


def test_refuses_a_table_without_rows_as_the_original_does(tamed: Get) -> None:
    model = tamed("forest, whole numbers")
    table = Table(tuple(NUMBERS.columns), 0, block=np.zeros((4, 0)))

    refusal = _attempt(model.predictor().predict, table)

    assert refusal == _attempt(model.original.predictor.predict, NUMBERS.iloc[:0])
    assert "0 sample(s)" in refusal


def test_tables_frames_and_single_columns_are_answered_alike(tamed: Get) -> None:
    served = tamed("one-hot and LightGBM").predictor()
    columns = {str(name): MIXED[name].to_numpy()[:9] for name in MIXED}

    from_table = served.predict(Table(tuple(MIXED.columns), 9, columns=columns), None)

    assert np.array_equal(from_table, served.predict(MIXED.iloc[:9], None))
    assert np.array_equal(from_table, served.predict(Table(tuple(MIXED.columns), 9, columns=columns).frame(), None))


@pytest.mark.parametrize(
    "name",
    [
        "forest, whole numbers",
        "forest, regression",
        "forest, gaps",
        "gradient boosting",
        "histogram boosting, gaps",
        "XGBoost",
        "XGBoost, gaps",
        "LightGBM, three classes",
        "scaler and forest",
    ],
)
def test_any_row_is_answered_as_by_the_original(name: str, tamed: Get) -> None:
    model = tamed(name)
    served, original = model.predictor(), model.original

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(*[st.floats(width=64)] * 4), min_size=1, max_size=5))
    def holds(rows: list[tuple[float, ...]]) -> None:
        frame = pd.DataFrame(rows, columns=NUMBERS.columns)
        table = original.table([frame[name].to_numpy() for name in frame])
        expected, found = _attempt(original.predictor.predict, frame), _attempt(served.predict, table)
        if isinstance(expected, str):  # With several faults at once, which one is named is another matter.
            assert isinstance(found, str)
            assert found.partition("(")[0] == expected.partition("(")[0]
        else:
            assert _same(found, expected), (found, expected)

    holds()


@pytest.mark.parametrize("name", ["forest, whole numbers", "one-hot and forest", "histogram boosting, gaps", "XGBoost"])
def test_batched_rows_are_answered_with_the_bytes_of_single_ones(name: str, tamed: Get) -> None:
    model = tamed(name)
    served, frame = model.predictor(), MIXED if "one-hot" in name else NUMBERS

    for method in served.methods.values():
        whole = method(frame, None)
        single = np.concatenate([method(frame.iloc[row : row + 1], None) for row in range(len(frame))])
        assert whole.tobytes() == single.tobytes()


@pytest.mark.parametrize("rounding", ["none", "common", "each"])
@pytest.mark.parametrize(
    "dtypes", [("int64", "float64"), ("int64", "int32"), ("bool", "float64"), ("int64", "float32")]
)
def test_cells_become_the_input_that_their_columns_become(dtypes: tuple[str, str], rounding: str) -> None:
    rows = [[2**62 + 2**38 + 1, 1], [2**53 + 1, 16_777_217], [-16_777_217, 3]]
    if dtypes[0] == "bool":
        rows = [[True, 1], [False, 16_777_217], [True, 3]]
    types = CellTypes(tuple(map(np.dtype, dtypes)))
    columns = {name: np.array([row[at] for row in rows], types.dtypes[at]) for at, name in enumerate("ab")}
    reader = InputReader(Contract((Column("a"), Column("b")), {}, rounding=rounding))

    cells = reader.read(Table(("a", "b"), 3, cells=[value for row in rows for value in row], types=types))

    assert cells["numbers"].tobytes() == reader.read(Table(("a", "b"), 3, columns=columns))["numbers"].tobytes()
