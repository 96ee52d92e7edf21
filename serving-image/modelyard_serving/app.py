"""The HTTP application but for predictions and health: metadata, metrics, description, control.

It is made after the model is ready, or when it is first asked for: the framework takes a quarter of a second to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from modelyard_serving import control, metrics
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.replay import Replay
from modelyard_serving.state import State
from modelyard_serving.web import protocols, questions
from modelyard_serving.web.asgi import application
from modelyard_serving.web.dispatch import HEALTH, HEALTH_BODY, Dispatch, health_status
from modelyard_serving.web.endpoint import Shared


def create_app(state: State, shared: Shared | None = None) -> Dispatch:
    """The application over `state`, which may become ready later; `shared` where another server takes part in it."""
    return application(state, shared or Shared(state))[0]


def create_rest(state: State, shared: Shared, endpoints: Mapping[str, ASGIApp]) -> ASGIApp:
    """All but the `endpoints`, which never come here but by another method than POST."""
    app = FastAPI(title="Modelyard model server", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(HTTPException, _on_http_exception)

    async def health() -> Response:
        return Response(HEALTH_BODY, health_status(state), media_type="application/json")

    recent = shared.recent
    replay = Replay(state, recent)
    for path, endpoint in endpoints.items():
        # For what comes by another method: the framework's answer is 405 with the one that is allowed.
        app.router.routes.append(Route(path.replace("{", "").replace("}", ""), endpoint, methods=["POST"]))
    questions.add_routes(app, state)
    control.add_routes(app, state, recent, replay)

    # A GET of these is answered before it comes here, but the framework knows that there is no other method.
    for path in HEALTH:
        app.get(path)(health)

    @app.get("/version")
    async def version() -> Response:
        return Response(state.model.mlmodel.mlflow_version, media_type="application/json")

    @app.get("/metadata")
    async def metadata() -> Response:
        return JSONResponse(describe(state))

    @app.get("/openapi.json")
    def get_description() -> Response:
        return JSONResponse(questions.description(state))

    @app.get("/docs")
    def get_page() -> Response:
        from modelyard_serving.protocol.openapi import page  # noqa: PLC0415 - for people, now and then

        return Response(page.render(questions.description(state)), headers=page.HEADERS, media_type="text/html")

    @app.get("/metrics")
    def get_metrics() -> Response:
        # Not async, so in a thread: the text of many metrics takes milliseconds.
        tally = replay.tally
        registries = [state.metrics.registry, *([tally.registry] if tally else [])]
        return Response(metrics.render(*registries), media_type=metrics.CONTENT_TYPE)

    return app


def describe(state: State) -> dict[str, Any]:
    """What is served, for people and tools. Raises RequestError (503) until the model is loaded."""
    model, config = state.model, state.config
    return {
        "model": config.model_name,
        "version": config.model_version,
        "uri": config.model_uri,
        "source": str(config.source),
        "digest": config.digest,
        "flavor": model.flavor,
        "runtime": model.predictor.runtime,
        "runtime_note": model.note or None,
        "methods": list(model.predictor.methods),
        "model_uuid": model.mlmodel.model_uuid,
        "mlflow_version": model.mlmodel.mlflow_version,
        "signature": model.mlmodel.signature,
    }


async def _on_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _refused(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the router refuses (404, 405)."""
    assert isinstance(error, HTTPException)
    code = ErrorCode.ENDPOINT_NOT_FOUND if error.status_code == 404 else ErrorCode.BAD_REQUEST
    return _refused(request, RequestError(str(error.detail), code, error.status_code), dict(error.headers or {}))


def _refused(request: Request, error: RequestError, headers: dict[str, str] | None = None) -> Response:
    """The error in the dialect that is spoken at the request's path."""
    reply = protocols.refusal_at(request.url.path)(error)
    return Response(reply.body, reply.status, headers, media_type=reply.content_type.decode())
