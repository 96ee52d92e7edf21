"""The OpenAPI 3.1 description of one server: `GET /openapi.json`. Pure.

Format: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from modelyard_serving.call import PREDICT
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.openapi import schemas
from modelyard_serving.protocol.openapi.examples import mlflow_example, v1_example, v2_example

JSON = "application/json"
_MLFLOW, _V1, _V2, _SERVER = "MLflow", "KServe V1", "Open Inference Protocol V2", "Server"
_REFUSALS = {
    "400": "the request cannot be read, does not satisfy the signature, or is refused by the model",
    "408": "the request took too long to arrive",
    "413": "the body is too large",
    "415": "the content type is none of the protocol's",
    "500": "the server failed, or the predictions cannot be expressed",
    "503": "not ready, or too busy: see Retry-After",
    "504": "the prediction took too long",
}


@dataclass(frozen=True)
class Described:
    """What the description is made of."""

    mlmodel: MLmodel
    methods: Collection[str]
    model: str
    version: str
    example: Mapping[str, Any] | None = None
    """A request to /invocations that was saved with the model."""


def describe(server: Described) -> dict[str, Any]:
    """The document."""
    model, version = quote(server.model, safe=""), quote(server.version, safe="")
    v2 = f"/v2/models/{model}"
    paths: dict[str, Any] = {
        "/invocations": {"post": _invocations(server)},
        "/v1/models": {"get": _get(_V1, "The models that are served", {"models": [server.model]})},
        f"/v1/models/{model}": {"get": _status(_V1, "Whether the model is ready", server.model)},
        f"/v1/models/{model}:predict": {"post": _v1(server)},
        "/v2": {"get": _get(_V2, "What the server is", None)},
        "/v2/health/live": {"get": _get(_V2, "Whether the server runs", {"live": True})},
        "/v2/health/ready": {"get": _health(_V2, "Whether the server can predict")},
    }
    for path in (v2, f"{v2}/versions/{version}"):
        paths[path] = {"get": _get(_V2, "The model's input and output tensors", None, unavailable=True)}
        paths[f"{path}/ready"] = {"get": _status(_V2, "Whether the model is ready", server.model)}
        paths[f"{path}/infer"] = {"post": _v2(server)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{server.model}, version {server.version}",
            "version": server.version,
            "description": "Predictions of one registered model, over three protocols that take the same data.",
        },
        "tags": [{"name": name} for name in (_MLFLOW, _V1, _V2, _SERVER)],
        "paths": {**paths, **_server_paths()},
        "components": {"schemas": _components(server)},
    }


def _components(server: Described) -> dict[str, Any]:
    inputs = server.mlmodel.inputs
    formats = schemas.format_schemas(inputs)
    with_params = {"params": _ref("Params")} if server.mlmodel.params else {}
    text = {"type": "string"}
    return {
        **formats,
        "Params": schemas.params_schema(server.mlmodel.params),
        "Invocation": {
            "oneOf": [
                {"type": "object", "properties": {name: _ref(name), **with_params}, "required": [name]}
                for name in formats
            ]
        },
        "Predictions": {
            "type": "object",
            "properties": {"predictions": {"description": "one for each row; a DataFrame's rows are objects"}},
            "required": ["predictions"],
        },
        "V1Request": {
            "type": "object",
            "properties": {
                "instances": schemas.instances_schema(inputs),
                **({"parameters": _ref("Params")} if server.mlmodel.params else {}),
            },
            "required": ["instances"],
        },
        "V2Request": schemas.v2_request_schema(inputs),
        "V2Response": schemas.v2_response_schema(),
        "MlflowError": {
            "type": "object",
            "properties": {"error_code": text, "message": text},
            "required": ["error_code", "message"],
        },
        "Error": {"type": "object", "properties": {"error": text}, "required": ["error"]},
    }


def _invocations(server: Described) -> dict[str, Any]:
    example = mlflow_example(server.mlmodel.inputs, server.example)
    content: dict[str, Any] = {JSON: _media("Invocation", example)}
    if server.mlmodel.inputs is None or "dataframe_split" in schemas.format_schemas(server.mlmodel.inputs):
        content["text/csv"] = {"schema": {"type": "string", "description": "a header line and a line for each row"}}
    return _predicts(_MLFLOW, content, [*_by_query(server), *_HEADERS], answer="Predictions", error="MlflowError")


def _v1(server: Described) -> dict[str, Any]:
    example = v1_example(server.mlmodel.inputs, mlflow_example(server.mlmodel.inputs, server.example))
    content = {JSON: _media("V1Request", example)}
    return _predicts(_V1, content, [*_by_query(server), *_HEADERS], answer="Predictions", error="Error")


def _v2(server: Described) -> dict[str, Any]:
    example = v2_example(server.mlmodel.inputs, mlflow_example(server.mlmodel.inputs, server.example))
    operation = _predicts(_V2, {JSON: _media("V2Request", example)}, list(_HEADERS), answer="V2Response", error="Error")
    operation["description"] = (
        "One tensor a column, or one of shape [rows, columns]. Outputs by the names "
        f"{', '.join(server.methods)}; {PREDICT} if none is listed. Tensors can be sent and asked for as binary data, "
        "with the header Inference-Header-Content-Length."
    )
    return operation


_HEADERS: tuple[dict[str, Any], ...] = (
    {
        "name": "X-Request-Id",
        "in": "header",
        "description": "comes back in the answer",
        "schema": {"type": "string", "maxLength": 128, "pattern": "^[ -~]*$"},
    },
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "seconds after which the client no longer waits",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    },
)


def _by_query(server: Described) -> list[dict[str, Any]]:
    return [
        {
            "name": "method",
            "in": "query",
            "description": "which of the model's functions",
            "schema": {"enum": list(server.methods), "default": PREDICT},
        }
    ]


def _predicts(
    tag: str, content: dict[str, Any], parameters: list[dict[str, Any]], *, answer: str, error: str
) -> dict[str, Any]:
    refusals = {status: {"description": text, "content": {JSON: _media(error)}} for status, text in _REFUSALS.items()}
    return {
        "tags": [tag],
        "summary": "Predict",
        "parameters": parameters,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "the predictions", "content": {JSON: _media(answer)}}, **refusals},
    }


def _get(tag: str, summary: str, example: Any, *, unavailable: bool = False) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"type": "object"}}
    if example is not None:
        media["example"] = example
    responses: dict[str, Any] = {"200": {"description": "OK", "content": {JSON: media}}}
    if unavailable:
        responses["503"] = {"description": "not ready", "content": {JSON: {"schema": {"type": "object"}}}}
    return {"tags": [tag], "summary": summary, "responses": responses}


def _status(tag: str, summary: str, model: str) -> dict[str, Any]:
    return _get(tag, summary, {"name": model, "ready": True}, unavailable=True)


def _health(tag: str, summary: str) -> dict[str, Any]:
    return _get(tag, summary, {"ready": True, "live": True}, unavailable=True)


def _server_paths() -> dict[str, Any]:
    def plain(summary: str, *statuses: str) -> dict[str, Any]:
        texts = {"200": "OK", "503": "not ready"}
        responses = {status: {"description": texts[status]} for status in ("200", *statuses)}
        return {"get": {"tags": [_SERVER], "summary": summary, "responses": responses}}

    return {
        "/health": plain("Whether the server can predict", "503"),
        "/ping": plain("Whether the server can predict", "503"),
        "/version": plain("The version of MLflow that saved the model", "503"),
        "/metadata": {"get": _get(_SERVER, "What is served, and how", None, unavailable=True)},
        "/metrics": plain("Prometheus metrics"),
        "/openapi.json": {"get": _get(_SERVER, "This description", None, unavailable=True)},
        "/docs": plain("This description as a page", "503"),
    }


def _media(schema: str, example: Any = None) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": _ref(schema)}
    return media if example is None else {**media, "example": example}


def _ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}
