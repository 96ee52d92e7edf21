"""The service's methods: metadata, metadata of requests, status codes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from modelyard_serving import logs
from modelyard_serving.call import Reply
from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.grpc import descriptor
from modelyard_serving.protocol.grpc.dialect import CHECK_MODEL
from modelyard_serving.protocol.v2.metadata import require_served

REQUEST_ID = "x-request-id"
PUSHBACK = "grpc-retry-pushback-ms"
"""What gRPC's clients that retry by themselves understand as Retry-After."""
_MAX_MESSAGE_CHARS = 4000
"""Of a status: it travels in a header."""

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Backend:
    """What the service needs of the server."""

    model: str
    version: str
    answer: Callable[[HttpRequest, float | None], Awaitable[Reply]]
    """(a request of the dialect `grpc`, the seconds until the client's deadline) → the answer. Raises RequestError."""
    ready: Callable[[], bool]
    server_metadata: Callable[[], Mapping[str, Any]]
    """As `v2.metadata` has it."""
    model_metadata: Callable[[], Mapping[str, Any]]
    """As `v2.metadata` has it. Raises RequestError (503) until the model is loaded."""
    request_id: Callable[[Mapping[bytes, bytes]], bytes]
    """The id of a request with such headers: what `x-request-id` says, or a new one."""


class Servicer:
    """GRPCInferenceService. Messages of predictions come and go as bytes, which `Backend.answer` reads and writes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def infer(self, body: bytes, context: Context) -> bytes:
        """ModelInfer."""
        headers = _headers(context)
        identity = self._backend.request_id(headers)
        await context.send_initial_metadata(((REQUEST_ID, identity.decode("ascii")),))
        try:
            request = HttpRequest(body, {**headers, REQUEST_ID.encode(): identity, CHECK_MODEL: b"1"})
            return (await self._backend.answer(request, context.time_remaining())).body
        except RequestError as error:
            await _abort(context, error)
        except Exception as error:
            logs.request_failed(request_id=identity.decode("ascii"), protocol="grpc", error=repr(error)[:500])
            await context.abort(grpc.StatusCode.INTERNAL, "The server failed on this request")
        raise AssertionError("abort raises")

    async def server_live(self, _: bytes, __: Context) -> Any:
        """ServerLive."""
        return descriptor.ServerLiveResponse(live=True)

    async def server_ready(self, _: bytes, __: Context) -> Any:
        """ServerReady."""
        return descriptor.ServerReadyResponse(ready=self._backend.ready())

    async def model_ready(self, request: Any, context: Context) -> Any:
        """ModelReady. NOT_FOUND for another model or version."""
        await self._require_served(request, context)
        return descriptor.ModelReadyResponse(ready=self._backend.ready())

    async def server_metadata(self, _: bytes, __: Context) -> Any:
        """ServerMetadata."""
        return descriptor.ServerMetadataResponse(**self._backend.server_metadata())

    async def model_metadata(self, request: Any, context: Context) -> Any:
        """ModelMetadata. NOT_FOUND for another model or version, UNAVAILABLE until the model is loaded."""
        await self._require_served(request, context)
        try:
            return descriptor.ModelMetadataResponse(**self._backend.model_metadata())
        except RequestError as error:
            return await _abort(context, error)

    async def _require_served(self, request: Any, context: Context) -> None:
        try:
            require_served(request.name, request.version, self._backend.model, self._backend.version)
        except RequestError as error:
            await _abort(context, error)


def handlers(servicer: Servicer) -> grpc.GenericRpcHandler[Any, Any]:
    """The service for a server. A message that nothing is read from stays bytes."""
    unary: Any = grpc.unary_unary_rpc_method_handler
    methods = {
        "ModelInfer": unary(servicer.infer),
        "ServerLive": unary(servicer.server_live, None, _serialize),
        "ServerReady": unary(servicer.server_ready, None, _serialize),
        "ServerMetadata": unary(servicer.server_metadata, None, _serialize),
        "ModelReady": unary(servicer.model_ready, descriptor.ModelReadyRequest.FromString, _serialize),
        "ModelMetadata": unary(servicer.model_metadata, descriptor.ModelMetadataRequest.FromString, _serialize),
    }
    return grpc.method_handlers_generic_handler(descriptor.SERVICE, methods)


def status_of(error: RequestError) -> grpc.StatusCode:
    """The status code for an error that HTTP would answer with its status."""
    if error.status == 503:
        # A full queue says when to come back.
        return grpc.StatusCode.UNAVAILABLE if error.retry_after is None else grpc.StatusCode.RESOURCE_EXHAUSTED
    codes = {
        401: grpc.StatusCode.UNAUTHENTICATED,
        404: grpc.StatusCode.NOT_FOUND,
        408: grpc.StatusCode.DEADLINE_EXCEEDED,
        413: grpc.StatusCode.RESOURCE_EXHAUSTED,
        504: grpc.StatusCode.DEADLINE_EXCEEDED,
    }
    other = grpc.StatusCode.INVALID_ARGUMENT if error.status < 500 else grpc.StatusCode.INTERNAL
    return codes.get(error.status, other)


async def _abort(context: Context, error: RequestError) -> Any:
    trailers = () if error.retry_after is None else ((PUSHBACK, str(error.retry_after * 1000)),)
    message = error.message[:_MAX_MESSAGE_CHARS].encode("utf-8", "backslashreplace").decode()
    await context.abort(status_of(error), message, trailers)


def _headers(context: Context) -> dict[bytes, bytes]:
    """The metadata of a request as HTTP has it."""
    pairs: Any = context.invocation_metadata() or ()
    return {
        key.encode("ascii"): value if isinstance(value, bytes) else value.encode("latin-1", "replace")
        for key, value in pairs
    }


def _serialize(message: Any) -> bytes:
    return message.SerializeToString()  # type: ignore[no-any-return]
