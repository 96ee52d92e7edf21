"""MLflow's scoring protocol, `POST /invocations`.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#local-inference-server-spec. One thing is added: the
query `?method=predict_proba` asks for another of the model's functions than `predict`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from modelyard_serving.call import PREDICT, Call, Reply, Result
from modelyard_serving.compare import predictions_of
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.encode import predictions_reply
from modelyard_serving.protocol.media import Media, media_of
from modelyard_serving.protocol.quick import QuickReader
from modelyard_serving.schema.params import enforce_params

if TYPE_CHECKING:
    from modelyard_serving.protocol.parse import Payload

METHOD = "method"
"""The parameter of the query."""
_PLAIN_JSON = {b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"}


class MlflowDialect:
    """The protocol, for one model."""

    name = "mlflow"

    def __init__(self, mlmodel: MLmodel, methods: Collection[str]) -> None:
        """`methods`: what the model can be asked for."""
        self._mlmodel = mlmodel
        self._methods = methods
        self._reader = QuickReader(mlmodel.inputs)
        self._defaults = enforce_params(None, mlmodel.params)

    def quick(self, request: HttpRequest) -> Call | None:
        """JSON that already has the types of the signature."""
        if request.headers.get(b"content-type") not in _PLAIN_JSON:
            return None
        try:
            document = orjson.loads(request.body)
        except ValueError:
            # It is stricter than MLflow, which takes NaN.
            return None
        table = self._reader.read(document)
        method = request.query.get(METHOD, PREDICT) if request.query else PREDICT
        if table is None or method not in self._methods:
            return None
        return Call(table, table.rows, self._defaults, (method,))

    def read(self, request: HttpRequest) -> Call:
        """Anything that MLflow takes, with its conversions and its complaints."""
        # Only here is pandas needed.
        from modelyard_serving.protocol.parse import decode_json, parse_csv, parse_json  # noqa: PLC0415

        method = method_of(request.query, self._methods)
        if media_of(request.content_type) is Media.CSV:
            return self._call(parse_csv(request.body, self._mlmodel.inputs), method)
        return self._call(parse_json(decode_json(request.body), self._mlmodel.inputs), method)

    def _call(self, payload: Payload, method: str) -> Call:
        from modelyard_serving.schema.enforce import enforce  # noqa: PLC0415

        try:
            data = enforce(payload.data, self._mlmodel.inputs)
            params = enforce_params(payload.params, self._mlmodel.params)
        except RequestError as error:
            message = f"Failed to predict data '{payload.data}'. \nError: {error.message}"
            raise RequestError(message, error.code) from error
        return Call(data, count_rows(data), params, (method,))

    def write(self, call: Call, result: Result) -> Reply:
        """`{"predictions": …}`."""
        del call
        return predictions_reply(result)

    @staticmethod
    def refuse(error: RequestError) -> Reply:
        """`{"error_code": …, "message": …}`."""
        return Reply(error.body(), status=error.status)

    def predictions(self, answer: bytes) -> Any:
        """What `predictions` holds."""
        return predictions_of(answer)


def method_of(query: Mapping[str, str], methods: Collection[str]) -> str:
    """What the query asks the model for. Raises RequestError (400) naming what there is."""
    method = query.get(METHOD, PREDICT)
    if method not in methods:
        message = f"The model has no method {method!r}; it has {', '.join(methods)}"
        raise RequestError(message, ErrorCode.INVALID_PARAMETER_VALUE)
    return method


def count_rows(data: Any) -> int:
    """How many rows enforced input has; 1 where that cannot be said."""
    if isinstance(data, dict):
        data = next(iter(data.values()), ())
    try:
        return len(data)
    except TypeError:
        return 1
