"""What the server says of itself and its model: the documents of the protocol's GET requests. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from modelyard_serving.call import PREDICT
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.protocol.v2.asked import output_columns
from modelyard_serving.protocol.v2.datatypes import BYTES, datatype_of_column, datatype_of_dtype
from modelyard_serving.schema.types import Column, Schema, Tensor, read_schema

SERVER = "modelyard"
EXTENSIONS = ("binary_tensor_data",)
VARIABLE = -1
"""A dimension of any length."""
PLATFORMS = {"onnx": "onnx_onnxv1"}
"""By what predicts. The specification has no names for what is not deep learning: these are `mlflow_<flavor>`."""


def server_metadata(version: str) -> dict[str, Any]:
    """`GET /v2`; `version` is the server's."""
    return {"name": SERVER, "version": version, "extensions": list(EXTENSIONS)}


def live() -> dict[str, Any]:
    """`GET /v2/health/live`."""
    return {"live": True}


def ready(*, ready: bool) -> dict[str, Any]:
    """`GET /v2/health/ready`; the status is 503 unless the server is ready."""
    return {"ready": ready, "live": True}


def model_ready(model: str, *, ready: bool) -> dict[str, Any]:
    """`GET /v2/models/{name}[/versions/{version}]/ready`; the status is 503 unless the model is ready."""
    return {"name": model, "ready": ready}


def require_served(model: str, version: str | None, served_model: str, served_version: str) -> None:
    """Raises RequestError (404) unless a request's path names what is served; without a version, any is meant."""
    if model != served_model:
        message = f"There is no model {model!r} here; {served_model!r} is served"
        raise RequestError(message, ErrorCode.ENDPOINT_NOT_FOUND, 404)
    if version and version != served_version:
        message = f"There is no version {version!r} of {model!r} here; {served_version!r} is served"
        raise RequestError(message, ErrorCode.ENDPOINT_NOT_FOUND, 404)


def model_metadata(
    mlmodel: MLmodel, methods: Collection[str], model: str, version: str, *, flavor: str, runtime: str = "native"
) -> dict[str, Any]:
    """`GET /v2/models/{name}[/versions/{version}]`.

    A named column is an input of its name; inputs without names are called by their position. The outputs are the
    model's methods, but for `predict` the columns that the signature names.
    """
    return {
        "name": model,
        "versions": [version],
        "platform": PLATFORMS.get(runtime, f"mlflow_{flavor}"),
        "inputs": _tensors(mlmodel.inputs, "input"),
        "outputs": _outputs(mlmodel, methods),
    }


def _tensors(schema: Schema | None, prefix: str) -> list[dict[str, Any]]:
    if schema is None:
        return []
    specs: Sequence[Column | Tensor] = schema.inputs
    return [_tensor(spec.name or f"{prefix}-{position}", spec) for position, spec in enumerate(specs)]


def _tensor(name: str, spec: Column | Tensor) -> dict[str, Any]:
    if isinstance(spec, Tensor):
        return {"name": name, "datatype": datatype_of_dtype(spec.dtype), "shape": list(spec.shape)}
    datatype, dimensions = datatype_of_column(spec.type)
    return {"name": name, "datatype": datatype, "shape": [VARIABLE] * dimensions}


def _outputs(mlmodel: MLmodel, methods: Collection[str]) -> list[dict[str, Any]]:
    others = [_probabilities(method) for method in methods if method != PREDICT]
    entries = mlmodel.signature.get("outputs")
    try:
        schema = read_schema(entries) if entries else None
    except (ValueError, TypeError, KeyError):
        schema = None
    if schema is None:
        return [{"name": PREDICT, "datatype": BYTES, "shape": [VARIABLE]}, *others]
    if output_columns(mlmodel.signature):
        return [*_tensors(schema, PREDICT), *others]
    return [_tensor(PREDICT, schema.inputs[0]), *others]


def _probabilities(method: str) -> dict[str, Any]:
    return {"name": method, "datatype": datatype_of_dtype(np.dtype(float)), "shape": [VARIABLE, VARIABLE]}
