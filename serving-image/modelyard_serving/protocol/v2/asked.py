"""What a request asks for: which of the model's methods, and which tensors of their outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard_serving.call import PREDICT, Result
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.protocol.v2.message import InferRequest
from modelyard_serving.protocol.v2.outputs import OutputTensor, tensors_of
from modelyard_serving.schema.params import ParamsSchema

METHOD = "method"
"""The request parameter that names a method, where no outputs are listed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a call's result becomes an answer."""

    methods: tuple[str, ...]
    outputs: tuple[tuple[str, str | None, bool], ...]
    """For each part of the answer: the method, the column of its output (None: all of it), whether as binary data."""
    id: str | None = None

    @property
    def plain(self) -> str | None:
        """The method whose whole output, as JSON, is the answer."""
        (method, column, binary), *others = self.outputs
        return method if column is None and not binary and not others else None


def asked_of(request: InferRequest, methods: Collection[str], columns: Collection[str]) -> Asked:
    """`columns`: names of the tensors that `predict` gives, where the signature says so.

    Raises RequestError (400 INVALID_PARAMETER_VALUE) naming what there is.
    """
    if not request.outputs:
        method = request.parameters.get(METHOD, PREDICT)
        if method not in methods:
            raise _unknown("method", method, methods)
        return Asked((method,), ((method, None, request.binary),), request.id)
    outputs: list[tuple[str, str | None, bool]] = []
    for output in request.outputs:
        binary = request.binary if output.binary is None else output.binary
        if output.name in methods:
            outputs.append((output.name, None, binary))
        elif output.name in columns:
            outputs.append((PREDICT, output.name, binary))
        else:
            raise _unknown("output", output.name, [*methods, *columns])
    return Asked(tuple(dict.fromkeys(method for method, _, _ in outputs)), tuple(outputs), request.id)


def answered(asked: Asked, result: Result, column: str | None) -> tuple[list[OutputTensor], list[bool]]:
    """The tensors of the answer, and of each whether it is to be binary data.

    `column`: what the signature calls the one output of `predict`, if it has a name. Raises RequestError (500) for
    what no tensor can hold, and for a column that the model did not give.
    """
    found = {
        method: tensors_of(column if column and method == PREDICT else method, output)
        for method, output in zip(asked.methods, result.outputs, strict=True)
    }
    tensors: list[OutputTensor] = []
    binary: list[bool] = []
    for method, name, each in asked.outputs:
        chosen = found[method] if name is None else [tensor for tensor in found[method] if tensor.name == name]
        if not chosen:
            message = f"The model gave no output {name!r}"
            raise RequestError(message, ErrorCode.INTERNAL_ERROR, 500)
        tensors += chosen
        binary += [each] * len(chosen)
    return tensors, binary


def params_of(parameters: Mapping[str, Any], schema: ParamsSchema | None) -> dict[str, Any] | None:
    """The request's parameters that the signature declares; the others are the protocol's and its servers' own."""
    if not parameters or not schema:
        return None
    declared = {param.name for param in schema}
    return {name: value for name, value in parameters.items() if name in declared}


def output_columns(signature: Mapping[str, Any]) -> Sequence[str]:
    """The names of the outputs of `predict`, if the signature gives all of them one."""
    names = [output.get("name") for output in signature.get("outputs") or ()]
    return [] if None in names else [str(name) for name in names]


def _unknown(what: str, name: Any, known: Collection[str]) -> RequestError:
    message = f"The model has no {what} {name!r}; it has {', '.join(known)}"
    return RequestError(message, ErrorCode.INVALID_PARAMETER_VALUE)
