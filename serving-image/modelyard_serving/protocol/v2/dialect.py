"""The protocol over HTTP: `POST /v2/models/{name}[/versions/{version}]/infer`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from modelyard_serving.call import Call, Reply, Result
from modelyard_serving.errors import RequestError
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.body import write_error
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.v2 import compared, rest
from modelyard_serving.protocol.v2.asked import Asked
from modelyard_serving.protocol.v2.inference import BARE, Inference
from modelyard_serving.protocol.v2.media import header_length
from modelyard_serving.protocol.v2.quick import QuickTensors

QUICK_BYTES = 64 * 1024
"""A longer body takes more than microseconds to read."""
QUICK_TENSORS = 256
"""So do more tensors, however short."""


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
        if len(request.body) > QUICK_BYTES:
            return None
        try:
            head, binary = rest.parts(request.body, header_length(request))
            document = orjson.loads(head)
            return self._quick(document, binary) if type(document) is dict else None
        except (ValueError, RequestError):
            # ValueError: the parser here is stricter than that of `read`, which takes NaN.
            return None

    def _quick(self, document: dict[str, Any], binary: memoryview) -> Call | None:
        inputs = document.get("inputs")
        if type(inputs) is not list or len(inputs) > QUICK_TENSORS:
            return None
        if binary or document.get("parameters") or (table := self._tensors.read(inputs)) is None:
            return self._inference.quick(rest.request_of(document, binary))
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
        return write_error(error)

    def predictions(self, answer: bytes) -> Any:
        """The rows of the outputs."""
        return compared.predictions_of(answer)
