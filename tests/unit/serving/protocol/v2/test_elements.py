"""Tensors as JSON: which elements stand for which type, and which shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.v2.elements import decode


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("BOOL", [True, False], [True, False]),
        ("BOOL", [1, 0], [True, False]),
        ("UINT8", [0, 255], [0, 255]),
        ("UINT16", [65535], [65535]),
        ("UINT32", [2**32 - 1], [2**32 - 1]),
        ("UINT64", [2**64 - 1], [2**64 - 1]),
        ("INT8", [-128, 127], [-128, 127]),
        ("INT16", [-(2**15)], [-(2**15)]),
        ("INT32", [2**31 - 1], [2**31 - 1]),
        ("INT64", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        ("INT64", [1.0, True], [1, 1]),
        ("FP32", [1, 0.5], [1.0, 0.5]),
        ("FP32", [1e300], [float("inf")]),
        ("FP64", [1, 0.5, True], [1.0, 0.5, 1.0]),
        ("BYTES", ["a", "ö", None], ["a", "ö", None]),
    ],
)
def test_elements_become_the_type(datatype: str, data: list[Any], expected: list[Any]) -> None:
    assert decode("x", datatype, (len(data),), data).tolist() == expected


def test_null_is_no_number() -> None:
    assert np.isnan(decode("x", "FP64", (1,), [None])).all()


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [2]),
        ("BOOL", ["true"]),
        ("UINT8", [256]),
        ("UINT8", [-1]),
        ("INT8", [128]),
        ("INT32", [1.5]),
        ("INT32", [None]),
        ("INT32", ["1"]),
        ("INT64", [2**63]),
        ("INT64", [float("nan")]),
        ("INT64", [float("inf")]),
        ("FP32", ["1.5"]),
        ("FP64", [10**400]),
        ("FP64", [{}]),
        ("FP16", [1.0]),
        ("BYTES", [1]),
        ("BYTES", [["a"]]),
    ],
)
def test_elements_of_another_type_or_beyond_its_range_are_refused(datatype: str, data: list[Any]) -> None:
    with pytest.raises(RequestError, match="'x'") as caught:
        decode("x", datatype, (len(data),), data)
    assert caught.value.status == 400


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
def test_elements_lie_flat_or_in_the_shape(data: list[Any]) -> None:
    assert decode("x", "INT64", (2, 3), data).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ((2, 3), [1, 2, 3, 4, 5]),
        ((2, 3), [[1, 2], [3, 4], [5, 6]]),
        ((2, 3), [[1, 2, 3], [4, 5]]),
        ((2, 3), [[1, 2, 3], 4]),
        ((2, 3), [[1, 2, 3, 4, 5, 6]]),
        ((2, 3), [[[1], [2], [3]], [[4], [5], [6]]]),
        ((1, 2, 2), [[[1, 2], [3]]]),
        ((10**18, 10**18), [1]),
        ((2,), []),
        ((), [1, 2]),
        ((1,), "x"),
        ((1,), None),
        ((1,), {"0": 1}),
    ],
)
def test_data_that_has_not_the_shape_is_refused(shape: tuple[int, ...], data: Any) -> None:
    with pytest.raises(RequestError):
        decode("x", "INT64", shape, data)
