"""What clients of the protocols ask about the server and its model, beside predictions."""

from __future__ import annotations

from importlib.metadata import version as package_version
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol import v1
from modelyard_serving.protocol.v2 import metadata
from modelyard_serving.state import Phase, State
from modelyard_serving.web.rpc import model_metadata

NAMED = "/v2/models/{name:path}"
VERSIONED = "/v2/models/{name:path}/versions/{version}"


def description(state: State) -> dict[str, Any]:
    """`GET /openapi.json`. Raises RequestError (503) until the model is loaded."""
    from modelyard_serving.protocol.openapi.document import Described, describe  # noqa: PLC0415
    from modelyard_serving.protocol.openapi.examples import read_example  # noqa: PLC0415

    model, config = state.model, state.config
    example = read_example(model.directory) if model.directory else None
    methods = tuple(model.predictor.methods)
    return describe(Described(model.mlmodel, methods, config.model_name, config.model_version, example))


def add_routes(app: FastAPI, state: State) -> None:
    """Add what clients of V1 and V2 ask about the server and its model."""
    config = state.config

    def is_ready() -> bool:
        return state.phase is Phase.READY

    def answer(document: Any, *, ready: bool = True) -> JSONResponse:
        return JSONResponse(document, 200 if ready else 503)

    def require_served(name: str, version: str | None = None) -> None:
        metadata.require_served(name, version, config.model_name, config.model_version)

    @app.get("/v1/models")
    async def v1_models() -> JSONResponse:
        return answer(v1.model_list(config.model_name))

    @app.get("/v1/models/{name:path}")
    async def v1_model(name: str) -> JSONResponse:
        require_served(name)
        return answer(v1.model_status(name, ready=is_ready()), ready=is_ready())

    @app.get("/v2")
    async def v2_server() -> JSONResponse:
        return answer(metadata.server_metadata(package_version("modelyard-serving")))

    @app.get("/v2/health/live")
    async def v2_live() -> JSONResponse:
        return answer(metadata.live())

    @app.get("/v2/health/ready")
    async def v2_ready() -> JSONResponse:
        return answer(metadata.ready(ready=is_ready()), ready=is_ready())

    # Routes are tried in the order in which decorators are applied, from below.
    @app.get(f"{NAMED}/ready")
    @app.get(f"{VERSIONED}/ready")
    async def v2_model_ready(name: str, version: str | None = None) -> JSONResponse:
        require_served(name, version)
        return answer(metadata.model_ready(name, ready=is_ready()), ready=is_ready())

    @app.get(NAMED)
    @app.get(VERSIONED)
    async def v2_model(name: str, version: str | None = None) -> JSONResponse:
        require_served(name, version)
        return answer(model_metadata(state))

    # What is served was taken out of the stream before; these say what there is instead.

    @app.post("/v1/models/{name:path}:predict")
    @app.post(f"{NAMED}/infer")
    @app.post(f"{VERSIONED}/infer")
    async def not_served(name: str, version: str | None = None) -> None:
        require_served(name, version)
        raise RequestError("There is no such endpoint", status=404)
