"""A client of the protocol that knows nothing but its messages, and a server over one model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from modelyard_serving.call import Call, Reply, Result
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.grpc import descriptor
from modelyard_serving.protocol.grpc.dialect import GrpcDialect
from modelyard_serving.protocol.grpc.server import GrpcServer
from modelyard_serving.protocol.grpc.servicer import Backend
from modelyard_serving.protocol.v2 import metadata
from tests.unit.serving.protocol.cases import METHODS, column, mlmodel

MODEL = mlmodel(column("a", "double"), column("b", "double"), outputs=[])
RESPONSES = {
    "ServerLive": descriptor.ServerLiveResponse,
    "ServerReady": descriptor.ServerReadyResponse,
    "ModelReady": descriptor.ModelReadyResponse,
    "ServerMetadata": descriptor.ServerMetadataResponse,
    "ModelMetadata": descriptor.ModelMetadataResponse,
    "ModelInfer": descriptor.ModelInferResponse,
}


def infer(*tensors: Any, **more: Any) -> Any:
    """A ModelInferRequest of (name, datatype, shape, field, elements) or, raw, (name, datatype, shape, bytes)."""
    message = descriptor.ModelInferRequest(model_name="wine", **more)
    for name, datatype, shape, *content in tensors:
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if len(content) == 1:
            message.raw_input_contents.append(content[0])
        else:
            getattr(tensor.contents, content[0]).extend(content[1])
    return message


def dialect() -> GrpcDialect:
    return GrpcDialect(MODEL, METHODS, "wine", "3")


def predicted(call: Call) -> Result:
    """Row numbers as labels, a quarter for each of two classes."""
    outputs = {"predict": np.arange(call.rows), "predict_proba": np.full((call.rows, 2), 0.25)}
    return Result(tuple(outputs[method] for method in call.methods), 0.0)


@dataclass
class Served:
    """What a test's backend was asked, and how it is to answer."""

    requests: list[HttpRequest] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    ready: bool = True
    before: Callable[[], Any] | None = None
    """Is awaited before the answer."""

    async def answer(self, request: HttpRequest, seconds: float | None) -> Reply:
        self.requests.append(request)
        self.seconds.append(seconds)
        if self.before is not None:
            await self.before()
        speaks = dialect()
        call = speaks.quick(request) or speaks.read(request)
        return speaks.write(call, predicted(call))

    def backend(self) -> Backend:
        return Backend(
            model="wine",
            version="3",
            answer=self.answer,
            ready=lambda: self.ready,
            server_metadata=lambda: metadata.server_metadata("1.2"),
            model_metadata=lambda: metadata.model_metadata(MODEL, METHODS, "wine", "3", flavor="sklearn"),
            request_id=lambda headers: headers.get(b"x-request-id", b"made-up"),
        )


@dataclass
class Client:
    channel: Any
    server: GrpcServer
    port: int

    def call(self, method: str, message: Any = None, **options: Any) -> Any:
        """A call that can be awaited."""
        return self.channel.unary_unary(f"/{descriptor.SERVICE}/{method}", None, RESPONSES[method].FromString)(
            message if isinstance(message, bytes) else message.SerializeToString() if message else b"", **options
        )


@asynccontextmanager
async def serving(served: Served, **limits: int) -> AsyncIterator[Client]:
    limits = {"max_message_bytes": 1 << 20, "max_requests": 16, **limits}
    server = GrpcServer(served.backend(), "127.0.0.1:0", **limits)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_send_message_length", -1)]) as channel:
        yield Client(channel, server, port)
    await server.stop(0)


async def refused(call: Any) -> Any:
    """The status code with which a call ends."""
    async with asyncio.timeout(20):
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code()
    raise AssertionError("it was not refused")
