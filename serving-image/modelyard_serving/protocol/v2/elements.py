"""Tensors as JSON: the elements in a flat list, or in lists within lists as the shape has it."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.body import kind_of
from modelyard_serving.protocol.v2.datatypes import BYTES, FP16, NUMPY
from modelyard_serving.protocol.v2.message import Values, check_count

_FLOATS: frozenset[type] = frozenset({float, int, bool, type(None)})
_INTEGERS: frozenset[type] = frozenset({int, bool})
_TEXTS: frozenset[type] = frozenset({str, type(None)})


def decode(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Values:
    """The tensor that a JSON array holds. Raises RequestError (400).

    Numbers may be whole or not for FP32 and FP64, and null stands for NaN; for integers they must be whole and within
    the type's range. FP16 has no JSON form.
    """
    if type(data) is not list:
        raise RequestError(f"The data of the tensor {name!r} must be an array, not {kind_of(data)}.")
    if datatype == FP16:
        raise RequestError(f"The tensor {name!r} has the type FP16, which can only be sent as binary data.")
    flat = _flatten(name, shape, data) if data and type(data[0]) is list else data
    check_count(name, shape, len(flat))
    try:
        return _array(datatype, flat).reshape(shape)
    except (OverflowError, ValueError, TypeError) as error:
        raise RequestError(f"The data of the tensor {name!r} is not of the type {datatype}: {error}.") from error


def _flatten(name: str, shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    """The elements of nested lists, which must have exactly the shape."""
    for length in shape[1:]:
        for row in data:
            if type(row) is not list or len(row) != length:
                raise RequestError(f"The data of the tensor {name!r} does not have its shape {list(shape)}.")
        data = list(chain.from_iterable(data))
    return data


def _array(datatype: str, flat: list[Any]) -> Values:
    types = set(map(type, flat))
    if datatype == BYTES:
        _require(types, _TEXTS)
        array = np.empty(len(flat), dtype=object)
        array[:] = flat
        return array
    dtype = NUMPY[datatype]
    if dtype.kind == "f":
        _require(types, _FLOATS)
        with np.errstate(over="ignore"):
            return np.array(flat, dtype)
    if float in types:
        flat = [_whole(value) for value in flat]
        types = set(map(type, flat))
    _require(types, _INTEGERS)
    if dtype.kind == "b" and int in types and not set(flat) <= {0, 1}:
        raise ValueError("a number other than 0 and 1")
    return np.array(flat, dtype)


def _whole(value: Any) -> Any:
    if type(value) is float:
        if not value.is_integer():  # NaN and infinity are none either.
            raise ValueError(f"{value} is no whole number")
        return int(value)
    return value


def _require(types: set[type], allowed: frozenset[type]) -> None:
    if wrong := types - allowed:
        raise TypeError(f"there is {' and '.join(sorted(kind_of(each()) for each in wrong))}")
