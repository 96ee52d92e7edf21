"""Tensors as binary data: little-endian, row-major, BYTES with a length of four bytes before each element.

Source: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
The same form is gRPC's `raw_input_contents`.
"""

from __future__ import annotations

from math import prod
from struct import Struct
from typing import Any

import numpy as np

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.v2.datatypes import BYTES, NUMPY
from modelyard_serving.protocol.v2.message import Values, check_count

_LENGTH = Struct("<I")


def decode(name: str, datatype: str, shape: tuple[int, ...], content: bytes | memoryview) -> Values:
    """The tensor that `content` holds, read-only. Raises RequestError (400) unless its length is as the shape says."""
    if datatype == BYTES:
        return objects(_decode_bytes(name, shape, bytes(content)), shape)
    dtype = NUMPY[datatype]
    expected = prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise RequestError(
            f"The tensor {name!r} has {len(content)} bytes; its shape {list(shape)} and type {datatype} say {expected}."
        )
    if datatype == "BOOL":
        # Any byte but 0 is true; numpy itself would keep the byte.
        return np.not_equal(np.frombuffer(content, np.uint8), 0).reshape(shape)
    return np.frombuffer(content, dtype).reshape(shape)


def _decode_bytes(name: str, shape: tuple[int, ...], content: bytes) -> list[bytes]:
    elements: list[bytes] = []
    position = 0
    limit = prod(shape)
    while position < len(content) and len(elements) <= limit:
        start = position + _LENGTH.size
        if start > len(content):
            raise RequestError(f"The tensor {name!r} ends within the length of element {len(elements)}.")
        position = start + _LENGTH.unpack_from(content, position)[0]
        if position > len(content):
            raise RequestError(f"The tensor {name!r} ends within element {len(elements)}.")
        elements.append(content[start:position])
    check_count(name, shape, len(elements))
    return elements


def objects(elements: list[Any], shape: tuple[int, ...]) -> Values:
    """A tensor of Python objects."""
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


def encode(datatype: str, values: Values) -> bytes:
    """The binary data of a tensor; BYTES elements are str or bytes. Raises ValueError for an element that is None."""
    if datatype != BYTES:
        return np.ascontiguousarray(values, NUMPY[datatype]).tobytes()
    parts = []
    for element in values.ravel().tolist():
        if element is None:
            raise ValueError("a missing text cannot be written as binary data")
        content = element.encode() if isinstance(element, str) else element
        parts += [_LENGTH.pack(len(content)), content]
    return b"".join(parts)
