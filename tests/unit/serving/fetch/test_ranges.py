from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_serving.fetch.ranges import Span, parse_content_range, parse_range, parts

SIZES = st.integers(0, 10_000)


@given(SIZES, st.integers(1, 500))
def test_parts_are_the_object_without_gap_or_overlap(size: int, part: int) -> None:
    spans = parts(size, part)
    assert [byte for span in spans for byte in range(*span)] == list(range(size))
    assert all(0 < span.stop - span.start <= part for span in spans)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_what_a_span_asks_is_what_a_server_reads(start: int, length: int) -> None:
    span = Span(start, start + length)
    assert parse_range(span.header, span.stop + 5) == span


@given(st.integers(1, 10_000), st.data())
def test_a_range_lies_within_the_object_or_is_refused(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, 20_000))
    try:
        span = parse_range(f"bytes={start}-", size)
    except ValueError:
        assert start >= size
    else:
        assert span == Span(start, size)


@pytest.mark.parametrize("value", [None, "", "bytes=-5", "bytes=1-2,4-5", "lines=1-2", "bytes=x-"])
def test_what_is_no_single_simple_range_asks_for_everything(value: str | None) -> None:
    assert parse_range(value, 10) is None


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=5-4"])
def test_a_range_outside_of_the_object_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="of 10 bytes"):
        parse_range(value, 10)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("bytes 0-0/1", (Span(0, 1), 1)),
        ("bytes 5-9/*", (Span(5, 10), None)),
        ("bytes 5-4/10", None),
        ("bytes 5-10/10", None),
        ("bytes */10", None),
        ("", None),
        (None, None),
    ],
)
def test_reads_content_range(value: str | None, told: object) -> None:
    assert parse_content_range(value) == told
