"""KServe's protocol V1: `POST /v1/models/{name}:predict`.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. As in MLflow's own protocol here,
the query `?method=predict_proba` asks for another of the model's functions than `predict`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from modelyard_serving.call import PREDICT, Call, Reply, Result
from modelyard_serving.compare import predictions_of
from modelyard_serving.errors import RequestError, invalid_input
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.body import kind_of, read_object, write_error
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.encode import predictions_reply
from modelyard_serving.protocol.media import Media, media_of
from modelyard_serving.protocol.mlflow import METHOD, count_rows, method_of
from modelyard_serving.protocol.quick import QuickReader
from modelyard_serving.schema.params import enforce_params
from modelyard_serving.schema.types import ColumnSchema, Schema

INSTANCES = "instances"
PARAMETERS = "parameters"
"""MLflow's `params`, under the name that other servers of V1 have for them."""


class V1Dialect:
    """The protocol, for one model."""

    name = "v1"

    def __init__(self, mlmodel: MLmodel, methods: Collection[str]) -> None:
        """`methods`: what the model can be asked for."""
        self._mlmodel = mlmodel
        self._methods = methods
        self._names = [column.name for column in mlmodel.inputs.inputs] if mlmodel.inputs else []
        self._reader = QuickReader(mlmodel.inputs)
        self._defaults = enforce_params(None, mlmodel.params)

    def quick(self, request: HttpRequest) -> Call | None:
        """JSON rows that already have the types of the signature."""
        if request.headers.get(b"content-type") not in (None, b"", b"application/json"):
            return None
        try:
            document = orjson.loads(request.body)
        except ValueError:
            return None
        if type(document) is not dict or len(document) != 1:
            return None
        rows = document.get(INSTANCES)
        method = request.query.get(METHOD, PREDICT) if request.query else PREDICT
        if type(rows) is not list or not rows or method not in self._methods:
            return None
        if type(rows[0]) is list:
            table = self._reader.read({"dataframe_split": {"columns": self._names, "data": rows}})
        else:
            table = self._reader.read({"dataframe_records": rows})
        return None if table is None else Call(table, table.rows, self._defaults, (method,))

    def read(self, request: HttpRequest) -> Call:
        """`{"instances": [row, …]}`; a row is a list, an object of column → value, or the one value itself."""
        # Only here is pandas needed.
        from modelyard_serving.schema.enforce import enforce  # noqa: PLC0415

        method = method_of(request.query, self._methods)
        _require_json(request)
        document = read_object(request.body)
        rows = document.get(INSTANCES)
        if not isinstance(rows, list):
            raise invalid_input(f"The request must have '{INSTANCES}', an array of rows, not {kind_of(rows)}.")
        data = enforce(_data(rows, self._mlmodel.inputs), self._mlmodel.inputs)
        params = enforce_params(document.get(PARAMETERS), self._mlmodel.params)
        return Call(data, count_rows(data), params, (method,))

    def write(self, call: Call, result: Result) -> Reply:
        """`{"predictions": […]}`."""
        del call
        return predictions_reply(result)

    @staticmethod
    def refuse(error: RequestError) -> Reply:
        """`{"error": …}`."""
        return write_error(error)

    def predictions(self, answer: bytes) -> Any:
        """What `predictions` holds."""
        return predictions_of(answer)


def _require_json(request: HttpRequest) -> None:
    """Raises RequestError (415) for a content type that is not JSON; without one, it is JSON."""
    if request.content_type and media_of(request.content_type) is not Media.JSON:
        raise RequestError("The protocol's only content type is application/json.", status=415)


def _data(rows: list[Any], schema: Schema | None) -> Any:
    """The rows as data for the signature to judge. Raises RequestError (400)."""
    from modelyard_serving.protocol.frames import frame_from_records, frame_from_split  # noqa: PLC0415
    from modelyard_serving.protocol.tensors import read_instances  # noqa: PLC0415

    records = bool(rows) and all(isinstance(row, dict) for row in rows)
    if schema is None:
        return frame_from_records(rows, None) if records else read_instances(rows, None)
    if not isinstance(schema, ColumnSchema):
        return read_instances(rows, schema)
    if records:
        return frame_from_records(rows, schema)
    names = [column.name for column in schema.inputs]
    table = [row if isinstance(row, list) else [row] for row in rows]
    if any(len(row) != len(names) for row in table):
        raise invalid_input(f"Each row must have a value for each of the {len(names)} inputs, in their order.")
    return frame_from_split({"data": table, "columns": names} if schema.named else {"data": table}, schema)


def model_list(model: str) -> dict[str, Any]:
    """`GET /v1/models`."""
    return {"models": [model]}


def model_status(model: str, *, ready: bool) -> dict[str, Any]:
    """`GET /v1/models/{name}`; the status is 503 unless the model is ready."""
    return {"name": model, "ready": ready}
