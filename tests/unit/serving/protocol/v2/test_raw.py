"""Tensors as binary data: every type both ways, and lengths that are not what the shape says."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.v2.datatypes import NUMPY
from modelyard_serving.protocol.v2.raw import decode, encode


@pytest.mark.parametrize("datatype", NUMPY)
def test_types_of_a_fixed_size_are_little_endian_and_row_major(datatype: str) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(NUMPY[datatype])
    content = encode(datatype, values.astype(values.dtype.newbyteorder(">")) if values.itemsize > 1 else values)
    assert content == values.astype(values.dtype.newbyteorder("<")).tobytes()
    found = decode("x", datatype, (2, 3), content)
    assert (found.dtype, found.tolist()) == (values.dtype, values.tolist())


def test_a_view_that_is_not_contiguous_is_written_row_by_row() -> None:
    values = np.arange(6, dtype=np.int64).reshape(2, 3).T
    assert decode("x", "INT64", (3, 2), encode("INT64", values)).tolist() == [[0, 3], [1, 4], [2, 5]]


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_bytes_have_their_length_in_front(elements: list[bytes]) -> None:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    content = encode("BYTES", array)
    assert content == b"".join(struct.pack("<I", len(each)) + each for each in elements)
    assert decode("x", "BYTES", (len(elements),), content).tolist() == elements


def test_texts_are_utf8_and_none_has_no_form() -> None:
    assert encode("BYTES", np.array(["ö"], dtype=object)) == b"\2\0\0\0\xc3\xb6"
    with pytest.raises(ValueError, match="missing"):
        encode("BYTES", np.array([None], dtype=object))


def test_any_byte_but_0_is_true() -> None:
    assert decode("x", "BOOL", (3,), b"\0\1\xff").tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("datatype", "shape", "content"),
    [
        ("FP64", (2,), bytes(15)),
        ("FP64", (2,), bytes(17)),
        ("FP64", (2**62, 4), bytes(8)),
        ("FP16", (1,), b""),
        ("INT8", (0,), b"x"),
        ("BYTES", (1,), b""),
        ("BYTES", (1,), b"\1\0\0"),
        ("BYTES", (1,), b"\2\0\0\0a"),
        ("BYTES", (1,), b"\xff\xff\xff\xff"),
        ("BYTES", (1,), b"\1\0\0\0ab"),
        ("BYTES", (2,), b"\1\0\0\0a"),
        ("BYTES", (10**18,), b"\0\0\0\0"),
        ("BYTES", (1,), bytes(4_000_000)),
    ],
)
def test_a_length_that_is_not_what_the_shape_says_is_refused(datatype: str, shape: Any, content: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode("x", datatype, shape, memoryview(content))
    assert caught.value.status == 400
