"""The protocol's tensor data types and numpy's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard_serving.schema.types import Array, ColumnType, Scalar

BYTES = "BYTES"
FP16 = "FP16"

NUMPY: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    FP16: np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The types of a fixed size, as they lie in a binary tensor: little-endian."""

NAMES: Mapping[np.dtype[Any], str] = {dtype: name for name, dtype in NUMPY.items()}
"""The protocol's name of a numpy type."""

PLAIN: Mapping[int, str] = {dtype.num: name for dtype, name in NAMES.items() if name != FP16}
"""The name by numpy's number of the type; native byte order is implied, as in all that a model computes."""

_SCALARS: Mapping[Scalar, str] = {
    Scalar.boolean: "BOOL",
    Scalar.integer: "INT32",
    Scalar.long: "INT64",
    Scalar.float: "FP32",
    Scalar.double: "FP64",
    Scalar.string: BYTES,
    Scalar.binary: BYTES,
    Scalar.datetime: BYTES,
}


def datatype_of_column(kind: ColumnType) -> tuple[str, int]:
    """The data type that holds a column's values, and how many dimensions the tensor has.

    Values that are no scalars nor arrays of such are one JSON text each.
    """
    dimensions = 1
    while isinstance(kind, Array) and leaf(kind) is not None:
        kind = kind.items
        dimensions += 1
    return (_SCALARS[kind] if isinstance(kind, Scalar) else BYTES), dimensions


def leaf(kind: ColumnType) -> Scalar | None:
    """The type of a column's single values, if they are scalars, in arrays or not."""
    while isinstance(kind, Array):
        kind = kind.items
    return kind if isinstance(kind, Scalar) else None


def datatype_of_dtype(dtype: np.dtype[Any]) -> str:
    """The data type for a tensor of a signature: what is no number is BYTES."""
    return NAMES.get(dtype.newbyteorder("<"), BYTES)
