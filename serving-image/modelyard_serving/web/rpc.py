"""What the gRPC service needs of the server: predictions as for HTTP, counted as those are."""

from __future__ import annotations

from importlib.metadata import version as package_version
from time import perf_counter
from typing import TYPE_CHECKING, Any

from modelyard_serving.call import Reply
from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.v2 import metadata
from modelyard_serving.state import Phase, State
from modelyard_serving.telemetry.traces import GRPC
from modelyard_serving.web.endpoint import Endpoint, Shared

if TYPE_CHECKING:
    from modelyard_serving.protocol.grpc.server import GrpcServer

INFER = "inference.GRPCInferenceService/ModelInfer"


def grpc_server(shared: Shared) -> GrpcServer:
    """The server of one process, not started. Only now is gRPC imported."""
    from modelyard_serving.protocol.grpc.dialect import GrpcDialect  # noqa: PLC0415
    from modelyard_serving.protocol.grpc.server import GrpcServer  # noqa: PLC0415
    from modelyard_serving.protocol.grpc.servicer import Backend  # noqa: PLC0415

    state, config = shared.state, shared.state.config
    endpoint = Endpoint(shared, GrpcDialect.name, GrpcDialect.refuse)

    async def answer(request: HttpRequest, remaining: float | None) -> Reply:
        limit = config.request_seconds
        return await counted(endpoint, request, limit if remaining is None else min(remaining, limit))

    backend = Backend(
        model=config.model_name,
        version=config.model_version,
        answer=answer,
        ready=lambda: state.phase is Phase.READY,
        server_metadata=lambda: metadata.server_metadata(package_version("modelyard-serving")),
        model_metadata=lambda: model_metadata(state),
        request_id=shared.ids.of,
    )
    host = f"[{config.host}]" if ":" in config.host else config.host
    return GrpcServer(
        backend,
        f"{host}:{config.grpc_port}",
        max_message_bytes=config.max_body_bytes,
        max_requests=config.max_queue + config.threads,
    )


async def counted(endpoint: Endpoint, request: HttpRequest, seconds: float) -> Reply:
    """The answer. Raises RequestError, and whatever breaks; both are counted by the status that HTTP has for them."""
    shared, metrics, begin, status, size = endpoint.shared, endpoint.shared.state.metrics, perf_counter(), 500, 0
    identity = shared.ids.of(request.headers)
    telemetry, note = shared.telemetry, None
    if telemetry is not None:
        note = telemetry.begin(GRPC, "POST", INFER, request.headers, identity)
    metrics.in_flight += 1
    held = 0
    try:
        shared.budget.take(len(request.body))
        held = len(request.body)
        reply = await endpoint.answer(request, seconds, note)
        status, size = reply.status, len(reply.body)
        return reply
    except RequestError as error:
        status = error.status
        endpoint.failed(error, identity, note)
        raise
    finally:
        shared.budget.give(held)
        metrics.in_flight -= 1
        metrics.answered(status, perf_counter() - begin, GRPC)
        if telemetry is not None and note is not None:
            note.has_ended(status, size)
            telemetry.end(note)


def model_metadata(state: State) -> dict[str, Any]:
    """`GET /v2/models/{name}`. Raises RequestError (503) until the model is loaded."""
    model, config = state.model, state.config
    return metadata.model_metadata(
        model.mlmodel,
        tuple(model.predictor.methods),
        config.model_name,
        config.model_version,
        flavor=model.flavor,
        runtime=model.predictor.runtime,
    )
