"""Models by their signatures alone, requests to them, and what the model is given."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from modelyard_serving.call import Call
from modelyard_serving.errors import RequestError
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.dialect import Dialect, HttpRequest
from modelyard_serving.protocol.mlflow import MlflowDialect
from modelyard_serving.protocol.v1 import V1Dialect
from modelyard_serving.protocol.v2.dialect import V2Dialect
from modelyard_serving.schema.params import read_params
from modelyard_serving.schema.types import read_schema
from modelyard_serving.table import Table
from tests.unit.serving.echo import _describe

METHODS = ("predict", "predict_proba")
JSON = {b"content-type": b"application/json"}


def column(name: str | None, kind: str, *, required: bool = True, **more: Any) -> dict[str, Any]:
    named = {} if name is None else {"name": name}
    return {"type": kind, "required": required, **named, **more}


def tensor(name: str | None, dtype: str, shape: list[int]) -> dict[str, Any]:
    named = {} if name is None else {"name": name}
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}, **named}


def mlmodel(*inputs: dict[str, Any], params: Any = None, outputs: Any = None) -> MLmodel:
    return MLmodel(
        flavors={},
        inputs=read_schema(inputs) if inputs else None,
        params=read_params(params) if params else None,
        signature={"inputs": list(inputs), "outputs": outputs, "params": params},
        mlflow_version="3.17.2",
        model_uuid=None,
    )


def v2(*inputs: dict[str, Any], **more: Any) -> V2Dialect:
    return V2Dialect(mlmodel(*inputs, **more), METHODS, "wine", "3")


def v1(*inputs: dict[str, Any], **more: Any) -> V1Dialect:
    return V1Dialect(mlmodel(*inputs, **more), METHODS)


def mlflow(*inputs: dict[str, Any], **more: Any) -> MlflowDialect:
    return MlflowDialect(mlmodel(*inputs, **more), METHODS)


def request(document: Any, query: dict[str, str] | None = None) -> HttpRequest:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return HttpRequest(body, JSON, query or {})


def sent(name: str, datatype: str, shape: list[int], data: Any, **parameters: Any) -> dict[str, Any]:
    more = {"parameters": parameters} if parameters else {}
    return {"name": name, "datatype": datatype, "shape": shape, **more, "data": data}


def given(data: Any) -> Any:
    """What the model is given, for comparing: types, order and values."""
    return _describe(data.frame() if isinstance(data, Table) else data)


def outcome(dialect: Dialect, asked: HttpRequest) -> Any:
    """What the model is given, or the status and code of the refusal; the short way agrees with the long one."""
    try:
        call = dialect.read(asked)
    except RequestError as error:
        assert dialect.quick(asked) is None
        return error.status, str(error.code)
    if (quick := dialect.quick(asked)) is not None:
        assert (given(quick.data), quick.rows) == (given(call.data), call.rows)
        assert (quick.params, quick.methods, quick.context) == (call.params, call.methods, call.context)
    return given(call.data)


def refusal(dialect: Dialect, asked: HttpRequest) -> RequestError:
    try:
        dialect.read(asked)
    except RequestError as error:
        assert dialect.quick(asked) is None
        return error
    raise AssertionError("it was not refused")


def frame_of(call: Call) -> pd.DataFrame:
    data = call.data.frame() if isinstance(call.data, Table) else call.data
    assert isinstance(data, pd.DataFrame)
    return data
