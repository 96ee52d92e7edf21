"""ModelInfer as a dialect: serialized messages in, serialized messages out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from modelyard_serving.call import Call, Reply, Result
from modelyard_serving.errors import RequestError
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.grpc import messages
from modelyard_serving.protocol.grpc.descriptor import ModelInferResponse
from modelyard_serving.protocol.v2.asked import Asked
from modelyard_serving.protocol.v2.compared import rows_of
from modelyard_serving.protocol.v2.inference import Inference
from modelyard_serving.protocol.v2.metadata import require_served

CONTENT_TYPE = b"application/grpc"
CHECK_MODEL = b"modelyard-check-model"
"""In a request's headers: its message must name the model that is served. Requests that are replayed were other
versions' and do not have it; no client can send it, since HTTP's headers are not read here."""


class GrpcDialect:
    """The protocol, for one model. A request's body is a ModelInferRequest, an answer's a ModelInferResponse."""

    name = "grpc"

    def __init__(self, mlmodel: MLmodel, methods: Collection[str], model: str, version: str) -> None:
        """`methods`: what the model can be asked for; `model` and `version`: its names in answers."""
        self._inference = Inference(mlmodel, methods)
        self._model = model
        self._version = version

    def quick(self, request: HttpRequest) -> Call | None:
        """Tensors of numbers or texts for named columns of such."""
        try:
            return self._inference.quick(messages.read(self._parse(request)))
        except RequestError:
            return None

    def read(self, request: HttpRequest) -> Call:
        """Any request of the protocol. Raises RequestError (404), too, for another model, if that is to be checked."""
        return self._inference.read(messages.read(self._parse(request)))

    def _parse(self, request: HttpRequest) -> Any:
        message = messages.parse(request.body)
        if CHECK_MODEL in request.headers:
            require_served(message.model_name, message.model_version, self._model, self._version)
        return message

    def write(self, call: Call, result: Result) -> Reply:
        """A ModelInferResponse."""
        asked: Asked = call.context
        tensors, binary = self._inference.tensors(call, result)
        return Reply(messages.write(self._model, self._version, asked.id, tensors, binary), CONTENT_TYPE)

    @staticmethod
    def refuse(error: RequestError) -> Reply:
        """The message alone: over gRPC errors are told by a status, see `servicer`."""
        return Reply(error.message.encode("utf-8", "backslashreplace"), b"text/plain; charset=utf-8", error.status)

    def predictions(self, answer: bytes) -> Any:
        """The rows of the outputs."""
        try:
            return rows_of(messages.columns_of(ModelInferResponse.FromString(answer)))
        except Exception as error:  # DecodeError among others; whatever it is, this is no answer.
            raise ValueError(f"the answer is no ModelInferResponse: {type(error).__name__}: {error}"[:300]) from error
