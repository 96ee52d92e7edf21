"""Protobuf messages to those of `v2` and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.protocol.grpc.descriptor import ModelInferRequest, ModelInferResponse
from modelyard_serving.protocol.v2 import raw
from modelyard_serving.protocol.v2.compared import plain
from modelyard_serving.protocol.v2.datatypes import BYTES, FP16, NUMPY
from modelyard_serving.protocol.v2.message import (
    InferRequest,
    InputTensor,
    RequestedOutput,
    Values,
    check_count,
    check_shape,
)
from modelyard_serving.protocol.v2.outputs import OutputTensor, binary_form

_FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def parse(body: bytes) -> Any:
    """A ModelInferRequest. Raises RequestError (400)."""
    try:
        return ModelInferRequest.FromString(body)
    except Exception as error:  # google.protobuf.message.DecodeError, or what an implementation raises instead.
        raise RequestError(f"The request is no ModelInferRequest: {error}") from error


def read(message: Any) -> InferRequest:
    """The request that a ModelInferRequest is. Raises RequestError (400 BAD_REQUEST)."""
    if not message.inputs:
        raise RequestError("The request must have at least one input.")
    contents = message.raw_input_contents
    if contents and len(contents) != len(message.inputs):
        raise RequestError(f"There are {len(message.inputs)} inputs, but {len(contents)} raw_input_contents.")
    inputs = tuple(
        _input(tensor, contents[position] if contents else None) for position, tensor in enumerate(message.inputs)
    )
    parameters = _parameters(message.parameters)
    outputs = [
        RequestedOutput(each.name, _flag(_parameters(each.parameters), "binary_data")) for each in message.outputs
    ]
    if len({output.name for output in outputs}) != len(outputs):
        raise RequestError("Two outputs have the same name.")
    # Who sends raw contents reads them as well.
    binary = _flag(parameters, "binary_data_output")
    return InferRequest(
        inputs, tuple(outputs), message.id or None, parameters, bool(contents) if binary is None else binary
    )


def _input(tensor: Any, content: bytes | None) -> InputTensor:
    name, datatype = tensor.name, tensor.datatype
    if datatype not in NUMPY and datatype != BYTES:
        raise RequestError(f"The input {name!r} must have one of the datatypes {', '.join([*NUMPY, BYTES])}.")
    shape = check_shape(name, list(tensor.shape))
    hint = _parameters(tensor.parameters).get("content_type") if tensor.parameters else None
    hint = hint if isinstance(hint, str) else None
    if content is None:
        return InputTensor(name, datatype, _typed(tensor, shape), hint)
    if tensor.HasField("contents"):
        raise RequestError(f"The input {name!r} has contents beside raw_input_contents.")
    return InputTensor(name, datatype, raw.decode(name, datatype, shape, content), hint)


def _typed(tensor: Any, shape: tuple[int, ...]) -> Values:
    name, datatype = tensor.name, tensor.datatype
    if datatype == FP16:
        raise RequestError(f"The tensor {name!r} has the type FP16, which can only be sent as raw contents.")
    elements = getattr(tensor.contents, _FIELDS[datatype])
    check_count(name, shape, len(elements))
    if datatype == BYTES:
        return raw.objects(list(elements), shape)
    try:
        # Of a list: numbers beyond the type are an error, where an array of another type would wrap around.
        return np.array(list(elements), NUMPY[datatype]).reshape(shape)
    except OverflowError as error:
        raise RequestError(f"The data of the tensor {name!r} is not of the type {datatype}: {error}.") from error


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    if not parameters:
        return {}
    choices = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], choice) for name, choice in choices.items() if choice}


def _flag(parameters: Mapping[str, Any], name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        raise RequestError(f"The parameter {name} must be a boolean.")
    return value


def write(
    model: str, version: str, identifier: str | None, tensors: Sequence[OutputTensor], binary: Sequence[bool]
) -> bytes:
    """A ModelInferResponse; its contents are raw if all outputs are asked for as binary data.

    Raises RequestError (500 INTERNAL_ERROR) for a text that is missing.
    """
    message = ModelInferResponse(model_name=model, model_version=version, id=identifier or "")
    for tensor in tensors:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.values.shape)
        if all(binary):
            message.raw_output_contents.append(binary_form(tensor))
            continue
        if tensor.datatype == FP16:
            output.datatype = "FP32"
        getattr(output.contents, _FIELDS[output.datatype]).extend(_elements(tensor))
    return message.SerializeToString()  # type: ignore[no-any-return]


def _elements(tensor: OutputTensor) -> list[Any]:
    elements: list[Any] = tensor.values.ravel().tolist()
    if tensor.datatype != BYTES:
        return elements
    if None in elements:
        message = f"The predictions {tensor.name!r} cannot be expressed as a tensor: a text is missing"
        raise RequestError(message, ErrorCode.INTERNAL_ERROR, 500)
    return [element.encode() if isinstance(element, str) else element for element in elements]


def columns_of(message: Any) -> dict[str, list[Any]]:
    """The outputs of a ModelInferResponse as lists in lists. Raises RequestError or ValueError."""
    columns = {}
    for position, output in enumerate(message.outputs):
        shape = check_shape(output.name, list(output.shape))
        if message.raw_output_contents:
            if output.datatype not in _FIELDS and output.datatype != FP16:
                raise ValueError(f"there is no datatype {output.datatype!r}")
            values = raw.decode(output.name, output.datatype, shape, message.raw_output_contents[position])
        else:
            elements = getattr(output.contents, _FIELDS[output.datatype])
            check_count(output.name, shape, len(elements))
            values = raw.objects(list(elements), shape)
        columns[output.name] = plain(values.tolist())
    return columns
