"""Bytes of HTTP bodies to messages and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from modelyard_serving.call import Reply
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.protocol.body import kind_of, read_object
from modelyard_serving.protocol.v2 import elements, raw
from modelyard_serving.protocol.v2.datatypes import BYTES, NUMPY
from modelyard_serving.protocol.v2.message import InferRequest, InputTensor, RequestedOutput, check_shape
from modelyard_serving.protocol.v2.outputs import OutputTensor, binary_form, json_form

HEADER = b"inference-header-content-length"
_JSON = b"application/json"
_BINARY = b"application/octet-stream"
_MAX_TENSORS = 65_536
_NOTHING: Mapping[str, Any] = {}


def read(body: bytes, header_length: bytes | None) -> InferRequest:
    """The request. `header_length`: how many bytes of the body are JSON, if binary data follow.

    Raises RequestError (400 BAD_REQUEST).
    """
    head, binary = parts(body, header_length)
    return request_of(read_object(head), binary)


def parts(body: bytes, header_length: bytes | None) -> tuple[bytes, memoryview]:
    """The JSON of a body and the binary data behind it. Raises RequestError (400 BAD_REQUEST)."""
    length = len(body) if header_length is None else _length(header_length, len(body))
    binary = memoryview(body)[length:]
    return body[:length] if binary else body, binary


def _length(header: bytes, limit: int) -> int:
    if not header.isdigit() or len(header) > 15 or int(header) > limit:
        raise RequestError("Inference-Header-Content-Length must be a number of bytes, at most the body's.")
    return int(header)


def request_of(document: Mapping[str, Any], binary: memoryview) -> InferRequest:
    """The request that a JSON object and binary data are. Raises RequestError (400 BAD_REQUEST)."""
    tensors = document.get("inputs")
    if type(tensors) is not list or not tensors:
        raise RequestError("The request must have 'inputs', an array of at least one tensor.")
    if len(tensors) > _MAX_TENSORS:
        raise RequestError(f"The request has {len(tensors)} inputs; there may be {_MAX_TENSORS}.")
    inputs = []
    for tensor in tensors:
        parsed, size = _input(tensor, binary)
        inputs.append(parsed)
        binary = binary[size:]
    if binary:
        raise RequestError(f"The body has {len(binary)} bytes more than its inputs' binary_data_size say.")
    return envelope(document, tuple(inputs))


def envelope(document: Mapping[str, Any], inputs: tuple[InputTensor, ...] = ()) -> InferRequest:
    """The request around its inputs. Raises RequestError (400 BAD_REQUEST)."""
    parameters = _parameters(document, "The request")
    asked = _flag(parameters, "binary_data_output")
    outputs = _outputs(document.get("outputs"))
    return InferRequest(inputs, outputs, _identifier(document.get("id")), parameters, bool(asked))


def _identifier(identifier: Any) -> str | None:
    if identifier is None:
        return None
    if type(identifier) is not str:
        raise RequestError(f"The id must be a string, not {kind_of(identifier)}.")
    if not identifier.isascii() and any("\ud800" <= character <= "\udfff" for character in identifier):
        raise RequestError("The id is not valid Unicode.")
    return identifier


def _input(tensor: Any, binary: memoryview) -> tuple[InputTensor, int]:
    """An input, and how many bytes of the binary data were its."""
    if type(tensor) is not dict:
        raise RequestError(f"Each input must be an object, not {kind_of(tensor)}.")
    name, datatype = tensor.get("name"), tensor.get("datatype")
    if type(name) is not str:
        raise RequestError("Each input must have a name.")
    if type(datatype) is not str or (datatype not in NUMPY and datatype != BYTES):
        raise RequestError(f"The input {name!r} must have one of the datatypes {', '.join([*NUMPY, BYTES])}.")
    shape = check_shape(name, tensor.get("shape"))
    parameters = _parameters(tensor, f"The input {name!r}")
    size = parameters.get("binary_data_size")
    hint = parameters.get("content_type")
    hint = hint if type(hint) is str else None
    if size is None:
        return InputTensor(name, datatype, elements.decode(name, datatype, shape, tensor.get("data")), hint), 0
    if "data" in tensor:
        raise RequestError(f"The input {name!r} has both data and binary_data_size.")
    if type(size) is not int or not 0 <= size <= len(binary):
        raise RequestError(
            f"The binary_data_size of the input {name!r} must be a number of bytes, at most the {len(binary)} left."
        )
    return InputTensor(name, datatype, raw.decode(name, datatype, shape, binary[:size]), hint), size


def _outputs(outputs: Any) -> tuple[RequestedOutput, ...]:
    if outputs is None:
        return ()
    if type(outputs) is not list:
        raise RequestError(f"The outputs must be an array, not {kind_of(outputs)}.")
    requested = []
    for output in outputs:
        name = output.get("name") if type(output) is dict else None
        if type(name) is not str:
            raise RequestError("Each output must be an object with a name.")
        parameters = _parameters(output, f"The output {name!r}")
        requested.append(RequestedOutput(name, _flag(parameters, "binary_data")))
    if len({output.name for output in requested}) != len(requested):
        raise RequestError("Two outputs have the same name.")
    return tuple(requested)


def _parameters(holder: Mapping[str, Any], whose: str) -> Mapping[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return _NOTHING
    if type(parameters) is not dict:
        raise RequestError(f"{whose} must have an object as parameters, not {kind_of(parameters)}.")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        raise RequestError(f"The parameter {name} must be a boolean, not {kind_of(value)}.")
    return value


def write(head: dict[str, Any], tensors: Sequence[OutputTensor], binary: Sequence[bool]) -> Reply:
    """The answer; `head` is all of it but the outputs, `binary` says of each tensor whether it is to be binary data.

    JSON knows neither NaN nor infinity: they are written as null. Raises RequestError (500 INTERNAL_ERROR).
    """
    parts: list[bytes] = []
    head["outputs"] = [
        _binary_output(tensor, parts) if each else _json_output(tensor)
        for tensor, each in zip(tensors, binary, strict=True)
    ]
    document = dumps(head)
    if not any(binary):
        return Reply(document)
    length = str(len(document)).encode()
    return Reply(b"".join([document, *parts]), _BINARY, headers=((HEADER, length),))


def dumps(document: dict[str, Any]) -> bytes:
    """JSON. Raises RequestError (500 INTERNAL_ERROR) for text that is not valid Unicode."""
    try:
        return orjson.dumps(document)
    except TypeError as error:
        message = f"The predictions are no JSON: {error}"
        raise RequestError(message, ErrorCode.INTERNAL_ERROR, 500) from error


def _json_output(tensor: OutputTensor) -> dict[str, Any]:
    datatype, data, parameters = json_form(tensor)
    output: dict[str, Any] = {"name": tensor.name, "datatype": datatype, "shape": list(tensor.values.shape)}
    if parameters:
        output["parameters"] = parameters
    output["data"] = data
    return output


def _binary_output(tensor: OutputTensor, parts: list[bytes]) -> dict[str, Any]:
    content = binary_form(tensor)
    parts.append(content)
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.values.shape),
        "parameters": {"binary_data_size": len(content)},
    }
