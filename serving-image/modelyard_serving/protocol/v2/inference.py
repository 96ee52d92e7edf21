"""Requests of one model, in whatever encoding, to calls; results to tensors."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from modelyard_serving.call import PREDICT, Call, Result
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.mlflow import count_rows
from modelyard_serving.protocol.v2.asked import Asked, answered, asked_of, output_columns, params_of
from modelyard_serving.protocol.v2.datatypes import PLAIN
from modelyard_serving.protocol.v2.inputs import TableReader
from modelyard_serving.protocol.v2.message import InferRequest
from modelyard_serving.protocol.v2.outputs import OutputTensor
from modelyard_serving.schema.params import enforce_params
from modelyard_serving.table import Table

BARE = InferRequest(())
"""A request that is nothing but its inputs."""
_PREDICT = Asked((PREDICT,), ((PREDICT, None, False),))


class Inference:
    """What the protocol is for one model, whether over REST or gRPC."""

    def __init__(self, mlmodel: MLmodel, methods: Collection[str]) -> None:
        """`methods`: what the model can be asked for."""
        self._mlmodel = mlmodel
        self._methods = methods
        self._columns = output_columns(mlmodel.signature)
        self._column = self._columns[0] if len(self._columns) == 1 else None
        self._reader = TableReader(mlmodel.inputs)
        self._defaults = enforce_params(None, mlmodel.params)

    def quick(self, request: InferRequest) -> Call | None:
        """The call, if reading it needs no pandas. Raises RequestError for outputs that there are not."""
        if request.parameters and (self._mlmodel.params or self._content_type(request)):
            return None
        if (table := self._reader.read(request.inputs)) is None:
            return None
        return self.call(table, request)

    def call(self, table: Table, request: InferRequest) -> Call:
        """The call of a request without params. Raises RequestError for outputs that there are not."""
        if request is BARE:
            return Call(table, table.rows, self._defaults, context=_PREDICT)
        asked = asked_of(request, self._methods, self._columns)
        return Call(table, table.rows, self._defaults, asked.methods, asked)

    def read(self, request: InferRequest) -> Call:
        """The call. Raises RequestError (400)."""
        asked = asked_of(request, self._methods, self._columns)
        params = enforce_params(params_of(request.parameters, self._mlmodel.params), self._mlmodel.params)
        if (table := self._reader.read(request.inputs)) is not None:
            return Call(table, table.rows, params, asked.methods, asked)
        # Only here is pandas needed.
        from modelyard_serving.protocol.v2.enforcement import enforced  # noqa: PLC0415

        data = enforced(request.inputs, self._mlmodel.inputs, self._content_type(request))
        return Call(data, count_rows(data), params, asked.methods, asked)

    def tensors(self, call: Call, result: Result) -> tuple[list[OutputTensor], list[bool]]:
        """The tensors of an answer, and of each whether it is to be binary data. Raises RequestError (500)."""
        return answered(call.context, result, self._column)

    def plain(self, method: str, result: Result) -> dict[str, Any] | None:
        """What `tensors` and `rest.write` make of a method's one array of numbers, in short; None for anything else."""
        output = result.outputs[0]
        datatype = PLAIN.get(output.dtype.num) if type(output) is np.ndarray and output.ndim else None
        if datatype is None:
            return None
        name = self._column if self._column and method == PREDICT else method
        return {"name": name, "datatype": datatype, "shape": output.shape, "data": output.ravel().tolist()}

    @staticmethod
    def _content_type(request: InferRequest) -> str | None:
        hint = request.parameters.get("content_type")
        return hint if isinstance(hint, str) else None
