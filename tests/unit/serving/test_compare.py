from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_serving.compare import differences, predictions_of, row_difference, rows

INF = math.inf
NAN = math.nan

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.0, 0),
        (0.0, -0.0, 0),
        (100.0, 99.0, 0.01),
        (0.0, 5e-324, 1),
        (1.0, -1.0, 2),
        (1.7e308, -1.7e308, 2),
        (NAN, NAN, 0),
        (NAN, 1.0, INF),
        (NAN, None, INF),
        (INF, INF, 0),
        (INF, -INF, INF),
        (INF, 1e300, INF),
        (1, 1, 0),
        (1, 2, INF),
        (1, 1.0, 0),
        (4, 5.0, 0.2),
        (10**400, 1.0, INF),
        (10**400, 10**400, 0),
        (True, True, 0),
        (True, 1, INF),
        (True, 1.0, INF),
        (True, False, INF),
        ("yes", "yes", 0),
        ("yes", "no", INF),
        ("1", 1, INF),
        (None, None, 0),
        (None, 0, INF),
        ([0.5, 0.5], [0.5, 0.4], 0.2),
        ([0.5], [0.5, 0.5], INF),
        ([], [], 0),
        ([1.0], 1.0, INF),
        ({"a": 1.0, "b": [2.0, "x"]}, {"b": [1.0, "x"], "a": 1.0}, 0.5),
        ({"a": 1}, {"b": 1}, INF),
        ({}, [], INF),
    ],
)
def test_the_difference_of_two_rows(one: Any, other: Any, expected: float) -> None:
    assert row_difference(one, other) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ([1.0, 2.0], [1.0, 1.0], [0, 0.5]),
        (["a", "b"], ["b", "a"], [INF, INF]),
        ([1.0, 2.0], [1.0], [INF, INF]),
        ([1.0], [1.0, 2.0], [INF]),
        ([], [1.0], [INF]),
        ([], [], []),
        (5.0, 5.0, [0]),
        ([5.0], 5.0, [INF]),
        ({"y": [1, 2]}, {"y": [1, 2]}, [0]),
        ([[0.1, 0.9]], [[0.9, 0.1]], [8 / 9]),
    ],
)
def test_the_differences_of_two_answers(reference: Any, candidate: Any, expected: list[float]) -> None:
    assert differences(reference, candidate) == pytest.approx(expected)


@given(values, values)
def test_a_difference_is_symmetric_and_a_number(one: Any, other: Any) -> None:
    found = row_difference(one, other)
    assert found >= 0
    assert found == row_difference(other, one)


@given(values)
def test_a_row_does_not_differ_from_itself(row: Any) -> None:
    assert row_difference(row, json.loads(json.dumps(row))) == 0


@given(finite, finite)
def test_numbers_differ_by_at_most_two(one: float, other: float) -> None:
    assert 0 <= row_difference(one, other) <= 2
    assert (row_difference(one, other) == 0) == (one == other)


@given(values, values)
def test_every_row_of_the_reference_is_judged(reference: Any, candidate: Any) -> None:
    found = differences(reference, candidate)
    assert len(found) == len(rows(reference)) or (not rows(reference) and found == [INF])
    assert not any(map(math.isnan, found))


def test_rows_nested_beyond_what_can_be_compared_have_nothing_in_common() -> None:
    one: Any = 1.0
    other: Any = 1.0
    for _ in range(5000):
        one, other = [one], [other]
    assert row_difference(one, other) == INF


def test_an_answer_is_read() -> None:
    assert predictions_of(b'{"predictions": [NaN, 1]}') == pytest.approx([NAN, 1], nan_ok=True)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"predictions": [1', b"\xff", b'{"predictions": ' + b"[" * 200_000]
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match="the answer "):
        predictions_of(answer)
