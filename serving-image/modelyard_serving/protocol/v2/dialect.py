"""The protocol over HTTP: `POST /v2/models/{name}[/versions/{version}]/infer`."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import orjson

from modelyard_serving.call import Call, Reply, Result
from modelyard_serving.errors import RequestError
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.v2 import compared, rest
from modelyard_serving.protocol.v2.asked import Asked
from modelyard_serving.protocol.v2.inference import BARE, Inference
from modelyard_serving.protocol.v2.media import header_length
from modelyard_serving.protocol.v2.quick import QuickTensors

QUICK_BYTES = 64 * 1024
"""A longer body takes more than microseconds to read."""


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
