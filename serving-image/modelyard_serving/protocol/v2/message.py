"""A request of the protocol, whatever way it came. Tensors hold what was sent: their lengths have been checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from modelyard_serving.errors import RequestError

Values = np.ndarray[Any, np.dtype[Any]]

MAX_DIMENSIONS = 16
MAX_EMPTY_DIMENSION = 65_536
"""A tensor without elements may claim any shape that has a 0 in it; no code that sees it shall count to the others."""


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input."""

    name: str
    datatype: str
    values: Values
    """In the tensor's shape. BYTES are objects: str (or None) if they came as JSON, else bytes."""
    content_type: str | None = None
    """MLServer's hint at what the elements mean, e.g. `base64`."""


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One output that the client asks for."""

    name: str
    binary: bool | None = None
    """Whether as binary data; None: as the request says for all."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request for predictions."""

    inputs: tuple[InputTensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    binary: bool = False
    """Whether outputs are to be binary data, unless they say otherwise."""


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape as a tuple. Raises RequestError (400) unless it is a list of dimensions."""
    if type(shape) is not list or any(type(each) is not int or each < 0 for each in shape):
        raise RequestError(f"The shape of the tensor {name!r} must be a list of whole numbers that are not negative.")
    if len(shape) > MAX_DIMENSIONS:
        raise RequestError(f"The tensor {name!r} has {len(shape)} dimensions; there may be {MAX_DIMENSIONS}.")
    if 0 in shape and max(shape) > MAX_EMPTY_DIMENSION:
        raise RequestError(f"The tensor {name!r} is empty and has a dimension above {MAX_EMPTY_DIMENSION}.")
    return tuple(shape)


def check_count(name: str, shape: tuple[int, ...], found: int) -> None:
    """Raises RequestError (400) unless a tensor of this shape has so many elements."""
    if (expected := prod(shape)) != found:
        raise RequestError(f"The tensor {name!r} has {found} elements; its shape {list(shape)} says {expected}.")
