"""The paths of the protocols for predictions; what clients ask about the server is in `questions`."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp

from modelyard_serving.protocol.mlflow import MlflowDialect
from modelyard_serving.protocol.v1 import V1Dialect
from modelyard_serving.protocol.v2.dialect import V2Dialect
from modelyard_serving.web.endpoint import Endpoint, Refuse, Shared


def endpoints(shared: Shared) -> Mapping[str, ASGIApp]:
    """By its path, each endpoint for predictions."""
    name, version = shared.state.config.model_name, shared.state.config.model_version
    v2 = Endpoint(shared, V2Dialect.name, V2Dialect.refuse)
    return {
        "/invocations": Endpoint(shared, MlflowDialect.name, MlflowDialect.refuse),
        f"/v1/models/{name}:predict": Endpoint(shared, V1Dialect.name, V1Dialect.refuse),
        f"/v2/models/{name}/infer": v2,
        f"/v2/models/{name}/versions/{version}/infer": v2,
    }


def refusal_at(path: str) -> Refuse:
    """How errors are written at a path."""
    if path == "/v2" or path.startswith("/v2/"):
        return V2Dialect.refuse
    return V1Dialect.refuse if path.startswith("/v1/") else MlflowDialect.refuse
