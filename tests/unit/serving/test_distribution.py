from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_serving.distribution import (
    MAX_BINS,
    MAX_FLOAT_BINS,
    MAX_LABELS,
    MAX_POSITIONS,
    OTHER,
    Bins,
    float_bin,
    summarize,
)


@pytest.mark.parametrize(
    ("row", "bins"),
    [
        ("yes", {"yes"}),
        (3, {"3"}),
        (True, {"true"}),
        (0.0, {"f0"}),
        (1.0, {"f8800"}),
        (-1.0, {"f-8800"}),
        ([0.0, "a"], {"0:f0", "1:a"}),
        ([[1, 2]], set()),
        ({"a": 1}, set()),
        (None, set()),
        (math.nan, set()),
        ("x" * 100, {"x" * 64}),
        ("a\n\u2028\ud800b", {"a???b"}),
    ],
)
def test_where_a_row_is_counted(row: Any, bins: set[str]) -> None:
    assert set(summarize([row], Bins()).bins) == bins


@pytest.mark.parametrize(
    ("row", "invalid"),
    [(1.0, 0), (None, 1), (math.nan, 1), (-math.inf, 1), ([1.0, None], 1), ({"a": {"b": [math.nan]}}, 1), ("nan", 0)],
)
def test_which_rows_are_invalid(row: Any, invalid: int) -> None:
    assert summarize([row], Bins()).invalid == invalid


def test_the_bounds_are_those_of_finite_numbers() -> None:
    summary = summarize([3, -2.5, math.inf, math.nan, True, "9", None, [7.0], {"a": 100}], Bins())
    assert (summary.lowest, summary.highest) == (-2.5, 7.0)


def test_where_no_number_is_answered_there_are_no_bounds() -> None:
    summary = summarize(["a", None], Bins())
    assert summary.lowest > summary.highest


def test_many_labels_end_up_as_other_on_both_sides() -> None:
    bins = Bins()
    reference = summarize(range(MAX_LABELS + 10), bins)
    assert reference.bins[OTHER] == 10
    candidate = summarize([5, MAX_LABELS + 5, -1], bins)
    assert candidate.bins == {"5": 1, OTHER: 2}


def test_many_floats_end_up_as_other() -> None:
    found = summarize([2.0**power for power in range(MAX_FLOAT_BINS + 10)], Bins()).bins
    assert (len(found), found[OTHER]) == (MAX_FLOAT_BINS + 1, 10)


def test_long_lists_have_no_bins_without_end() -> None:
    bins = Bins()
    rows = [[2.0**power] * 1000 for power in range(200)]
    assert len(summarize(rows, bins).bins) <= MAX_BINS + MAX_POSITIONS


@given(st.floats(allow_nan=False, allow_infinity=False).filter(bool))
def test_the_grid_has_eight_points_an_octave_on_either_side_of_zero(value: float) -> None:
    point = int(float_bin(value).removeprefix("f"))
    assert (point > 0) == (value > 0)
    assert float_bin(-value) == f"f{-point}"
    if 1e-300 < abs(value) < 1e300:
        assert int(float_bin(2 * value).removeprefix("f")) - point == (8 if value > 0 else -8)
        assert 2 ** ((abs(point) - 8800) / 8) == pytest.approx(abs(value), rel=0.1)


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.floats())))
def test_any_answer_has_a_summary(rows: list[Any]) -> None:
    summary = summarize(rows, Bins())
    assert 0 <= summary.invalid <= len(rows)
    assert all(bin_.isprintable() for bin_ in summary.bins)
