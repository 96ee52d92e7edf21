"""The protocol over HTTP: `POST /v2/models/{name}[/versions/{version}]/infer`."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
import orjson

from modelyard_serving.call import PREDICT, Call, Reply, Result
from modelyard_serving.errors import RequestError
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.mlflow import count_rows
from modelyard_serving.protocol.v2 import compared, rest
from modelyard_serving.protocol.v2.asked import Asked, answered, asked_of, output_columns, params_of
from modelyard_serving.protocol.v2.datatypes import PLAIN
from modelyard_serving.protocol.v2.inputs import TableReader
from modelyard_serving.protocol.v2.media import header_length
from modelyard_serving.protocol.v2.message import InferRequest
from modelyard_serving.protocol.v2.quick import QuickTensors
from modelyard_serving.schema.params import enforce_params
from modelyard_serving.table import Table

QUICK_BYTES = 64 * 1024
"""A longer body takes more than microseconds to read."""
BARE = InferRequest(())
"""A request that is nothing but its inputs."""
_PREDICT = Asked((PREDICT,), ((PREDICT, None, False),))


class Inference:
    """Requests of one model, in whatever encoding, to calls; results to tensors."""

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

    def tensors(self, call: Call, result: Result) -> tuple[list[Any], list[bool]]:
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


class V2Dialect:
    """The protocol, for one model."""

    name = "v2"

    def __init__(self, mlmodel: MLmodel, methods: Collection[str], model: str, version: str) -> None:
        """`methods`: what the model can be asked for; `model` and `version`: its names in answers."""
        self._inference = Inference(mlmodel, methods)
        self._tensors = QuickTensors(mlmodel.inputs)
        self._head = {"model_name": model, "model_version": version}

    def quick(self, request: HttpRequest) -> Call | None:
        """Tensors of numbers or texts for named columns of such, as JSON or binary data."""
        try:
            length = header_length(request)
            if length is None and (call := self._quick_json(request.body)) is not None:
                return call
            if len(request.body) > QUICK_BYTES:
                return None
            return self._inference.quick(rest.read(request.body, length))
        except RequestError:
            return None

    def _quick_json(self, body: bytes) -> Call | None:
        try:
            document = orjson.loads(body)
        except ValueError:
            return None
        if type(document) is not dict or document.get("parameters"):
            return None
        table = self._tensors.read(document.get("inputs"))
        if table is None:
            return None
        return self._inference.call(table, rest.envelope(document) if len(document) > 1 else BARE)

    def read(self, request: HttpRequest) -> Call:
        """Any request of the protocol."""
        return self._inference.read(rest.read(request.body, header_length(request)))

    def write(self, call: Call, result: Result) -> Reply:
        """`{"model_name", "model_version", "id", "outputs"}`; the `id` is the request's, if it had one."""
        asked: Asked = call.context
        head: dict[str, Any] = dict(self._head)
        if asked.id is not None:
            head["id"] = asked.id
        if (name := asked.plain) is not None and (output := self._inference.plain(name, result)) is not None:
            head["outputs"] = [output]
            return Reply(rest.dumps(head))
        return rest.write(head, *self._inference.tensors(call, result))

    @staticmethod
    def refuse(error: RequestError) -> Reply:
        """`{"error": …}`."""
        return Reply(json.dumps({"error": error.message}).encode(), status=error.status)

    def predictions(self, answer: bytes) -> Any:
        """The rows of the outputs."""
        return compared.predictions_of(answer)
