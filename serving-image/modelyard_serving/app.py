"""The HTTP application: health, metadata, metrics and /invocations."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard_serving import control, logs, metrics
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.recent import Recent
from modelyard_serving.replay import Replay
from modelyard_serving.state import Phase, State

Headers = list[tuple[bytes, bytes]]
_JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
_CLOSE: tuple[bytes, bytes] = (b"connection", b"close")


def create_app(state: State) -> ASGIApp:
    """The application over `state`, which may become ready later."""
    app = FastAPI(title="Modelyard model server", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    recent = Recent(state.config.recent_requests)
    replay = Replay(state, recent)
    app.router.routes.append(Route("/invocations", Invocations(state, recent), methods=["POST"]))
    control.add_routes(app, state, recent, replay)

    @app.get("/ping")
    @app.get("/health")
    async def health() -> Response:
        status = 200 if state.phase is Phase.READY else 503
        return Response("\n", status, media_type="application/json")

    @app.get("/version")
    async def version() -> Response:
        return Response(state.model.mlmodel.mlflow_version, media_type="application/json")

    @app.get("/metadata")
    async def metadata() -> Response:
        return JSONResponse(describe(state))

    @app.get("/metrics")
    def get_metrics() -> Response:
        # Not async, so in a thread: the text of many metrics takes milliseconds.
        tally = replay.tally
        registries = [state.metrics.registry, *([tally.registry] if tally else [])]
        return Response(metrics.render(*registries), media_type=metrics.CONTENT_TYPE)

    return CloseWhileDraining(app, state)


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
        "model_uuid": model.mlmodel.model_uuid,
        "mlflow_version": model.mlmodel.mlflow_version,
        "signature": model.mlmodel.signature,
    }


class Invocations:
    """POST /invocations, as plain ASGI: it is the one endpoint whose overhead matters.

    Predictions run in threads of their own, so that health checks are answered while the CPU is busy.
    """

    def __init__(self, state: State, recent: Recent) -> None:
        self._state = state
        self._metrics = state.metrics
        self._recent = recent
        self._limit = state.config.max_body_bytes
        self._pool = ThreadPoolExecutor(state.config.threads, thread_name_prefix="predict")
        self._headers: Headers = [
            _JSON,
            (b"x-modelyard-model", _header(state.config.model_name)),
            (b"x-modelyard-version", _header(state.config.model_version)),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that went away gets none."""
        self._metrics.in_flight += 1
        try:
            await self._respond(dict(scope["headers"]), receive, send)
        finally:
            self._metrics.in_flight -= 1

    async def _respond(self, given: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        headers: Headers = []
        begin = perf_counter()
        try:
            model = self._state.model
            body = await self._read(given, receive)
            if body is None:
                return
            # How long a client takes to send its request says nothing about this server.
            begin = perf_counter()
            header = given.get(b"content-type")
            content_type = None if header is None else header.decode("latin-1")
            answer, seconds = await asyncio.get_running_loop().run_in_executor(
                self._pool, model.answer, body, content_type
            )
            status = 200
            self._recent.add(content_type or "", body, answer, seconds)
        except RequestError as error:
            status, answer = error.status, error.body()
            if status == 413:
                # The rest of the body is not read, so nothing can follow it on this connection.
                headers = [_CLOSE]
        except asyncio.CancelledError:
            # Only the end of the process cancels, when a request takes longer than it may. The task ends with this.
            status = 503
            answer = RequestError("The server is shutting down", ErrorCode.TEMPORARILY_UNAVAILABLE, 503).body()
        except Exception as error:
            logs.warning("request_failed", error=repr(error)[:500])
            status = 500
            answer = RequestError("The server failed on this request", ErrorCode.INTERNAL_ERROR, 500).body()
        # Before it is sent: who has the answer finds it counted.
        self._metrics.answered(status, perf_counter() - begin)
        headers = [*self._headers, (b"content-length", str(len(answer)).encode()), *headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
        """The body, or None if the client went away. Raises RequestError (413) once it is known to be too long."""
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_long()
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._limit:
                raise self._too_long()
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_long(self) -> RequestError:
        return RequestError(f"The request body is larger than {self._limit} bytes", status=413)


class CloseWhileDraining:
    """Tells clients, while the server drains, to open their next connection elsewhere."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its response says `Connection: close` if it starts while draining."""

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._state.phase is Phase.DRAINING:
                message = {**message, "headers": [*message.get("headers", []), _CLOSE]}
            await send(message)

        await self._app(scope, receive, send_closing)


async def _on_request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return Response(error.body(), error.status, media_type="application/json")


async def _on_http_exception(_: Request, error: Exception) -> Response:
    """What the router refuses (404, 405), in the dialect of all other errors."""
    assert isinstance(error, HTTPException)
    code = ErrorCode.ENDPOINT_NOT_FOUND if error.status_code == 404 else ErrorCode.BAD_REQUEST
    body = RequestError(str(error.detail), code).body()
    return Response(body, error.status_code, headers=dict(error.headers or {}), media_type="application/json")


def _header(value: str) -> bytes:
    """A name as a header's value: printable ASCII as it is, the rest percent-encoded as UTF-8."""
    return quote(value, safe=" !#$&'()*+,/:;<=>?@[]^`{|}").encode()
