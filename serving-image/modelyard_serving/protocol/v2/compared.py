"""What an answer says, for comparing versions. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.v2 import raw
from modelyard_serving.protocol.v2.datatypes import BYTES, NUMPY


def predictions_of(answer: bytes) -> Any:
    """The rows of an answer: each output's row, or records by the outputs' names if there are several.

    Raises ValueError for what is no answer.
    """
    try:
        # Binary data may follow the JSON, whose end is the same in any encoding that keeps ASCII.
        _, end = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
        document = json.loads(answer[:end])
        return rows_of(_columns(document["outputs"], memoryview(answer)[end:]))
    except (ValueError, RecursionError, KeyError, TypeError, RequestError) as error:
        raise ValueError(f"the answer is none of the protocol: {type(error).__name__}: {error}"[:300]) from error


def rows_of(columns: Mapping[str, list[Any]]) -> list[Any]:
    """The outputs' rows. Raises ValueError if they differ in number or there are no outputs."""
    if len(columns) == 1:
        return next(iter(columns.values()))
    if len({len(rows) for rows in columns.values()}) != 1:
        raise ValueError("the outputs are not of one length")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _columns(outputs: Any, binary: memoryview) -> dict[str, list[Any]]:
    columns = {}
    for output in outputs:
        name, datatype, shape = output["name"], output["datatype"], output["shape"]
        if not isinstance(name, str) or any(type(length) is not int or length < 0 for length in shape) or not shape:
            raise ValueError("an output has no name or shape")
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            columns[name] = nested(output["data"], shape)
            continue
        if datatype not in NUMPY and datatype != BYTES:
            raise ValueError(f"there is no datatype {datatype!r}")
        columns[name] = plain(raw.decode(name, datatype, tuple(shape), binary[:size]).tolist())
        binary = binary[size:]
    return columns


def plain(value: Any) -> Any:
    """Lists of bytes as JSON would have them."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def nested(flat: list[Any], shape: list[int]) -> list[Any]:
    """Elements in row-major order as lists in lists. Raises ValueError if their number is not what the shape says."""
    if not isinstance(flat, list) or len(flat) != prod(shape) or 0 in shape[1:]:
        raise ValueError("the data does not have the shape")
    for length in reversed(shape[1:]):
        flat = [flat[start : start + length] for start in range(0, len(flat), length)]
    return flat
