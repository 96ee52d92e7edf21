"""A loaded model: one request's bytes in, its answer's bytes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

from modelyard_serving import logs
from modelyard_serving.call import Predictor
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.encode import encode
from modelyard_serving.protocol.media import Media, media_of
from modelyard_serving.protocol.parse import Payload, decode_json, parse_csv, parse_json
from modelyard_serving.protocol.quick import QuickReader
from modelyard_serving.schema.enforce import enforce
from modelyard_serving.schema.params import enforce_params


class Answer(NamedTuple):
    """What a request is answered with."""

    body: bytes
    """UTF-8 JSON."""
    seconds: float
    """What the model took to predict: neither reading the request nor writing the answer."""


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict; safe to use from several threads."""

    mlmodel: MLmodel
    flavor: str
    predictor: Predictor
    quick: QuickReader = field(init=False)

    def __post_init__(self) -> None:
        """Prepare what every request needs."""
        object.__setattr__(self, "quick", QuickReader(self.mlmodel.inputs))

    def answer(self, body: bytes, content_type: str | None) -> Answer:
        """The answer to the body of a POST to /invocations. Raises RequestError."""
        if media_of(content_type) is Media.CSV:
            return self._answer(parse_csv(body, self.mlmodel.inputs))
        document = decode_json(body)
        if (frame := self.quick.read(document)) is not None:
            return self._predict(frame)
        return self._answer(parse_json(document, self.mlmodel.inputs))

    def _answer(self, payload: Payload) -> Answer:
        try:
            data = enforce(payload.data, self.mlmodel.inputs)
            enforce_params(payload.params, self.mlmodel.params)
        except RequestError as error:
            message = f"Failed to predict data '{payload.data}'. \nError: {error.message}"
            raise RequestError(message, error.code) from error
        return self._predict(data)

    def _predict(self, data: Any) -> Answer:
        """What scikit-learn refuses is the request's fault, as MLflow sees it: 400."""
        begin = perf_counter()
        try:
            predictions = self.predictor.predict(data, None)
        except Exception as error:
            logs.warn_once("predict_failed", error=repr(error)[:500])
            raise RequestError(
                "Encountered an unexpected error while evaluating the model. Verify that the serialized input Dataframe"
                f" is compatible with the model for inference. Error: {error!r}"
            ) from error
        seconds = perf_counter() - begin
        return Answer(self._encode(predictions), seconds)

    @staticmethod
    def _encode(predictions: Any) -> bytes:
        try:
            return encode(predictions)
        except (TypeError, ValueError) as error:
            logs.warn_once("predictions_not_json", error=repr(error)[:500])
            raise RequestError(f"The predictions are no JSON: {error}", ErrorCode.INTERNAL_ERROR, 500) from error
