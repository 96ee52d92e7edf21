"""The service over a real connection: status codes, ids, deadlines, limits, a graceful end."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.protocol.grpc import descriptor
from modelyard_serving.protocol.grpc.server import GrpcServer
from modelyard_serving.protocol.grpc.servicer import status_of
from tests.unit.serving.protocol.grpc.clients import Served, infer, refused, serving

Code = grpc.StatusCode
MATRIX = ("x", "FP64", [1, 2], "fp64_contents", [1, 2])


async def test_what_the_server_says_of_itself() -> None:
    served = Served()
    async with serving(served) as client:
        assert (await client.call("ServerLive")).live
        assert (await client.call("ServerReady")).ready
        assert (await client.call("ModelReady", descriptor.ModelReadyRequest(name="wine"))).ready
        served.ready = False
        assert not (await client.call("ServerReady")).ready
        assert not (await client.call("ModelReady", descriptor.ModelReadyRequest(name="wine", version="3"))).ready
        assert (await client.call("ServerMetadata")).extensions == ["binary_tensor_data"]
        model = await client.call("ModelMetadata", descriptor.ModelMetadataRequest(name="wine"))
        assert (model.platform, [each.name for each in model.inputs]) == ("mlflow_sklearn", ["a", "b"])
        assert list(model.inputs[0].shape) == [-1]


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata"])
async def test_another_model_is_not_found(method: str) -> None:
    async with serving(Served()) as client:
        for names in ({"name": "beer"}, {"name": "wine", "version": "4"}):
            message = getattr(descriptor, f"{method}Request")(**names)
            assert await refused(client.call(method, message)) is Code.NOT_FOUND


async def test_a_prediction_has_its_requests_id() -> None:
    served = Served()
    async with serving(served) as client:
        call = client.call("ModelInfer", infer(MATRIX, id="7"), metadata=(("x-request-id", "abc"), ("bin-bin", b"\0")))
        assert dict(await call.initial_metadata())["x-request-id"] == "abc"
        assert (await call).id == "7"
        other = client.call("ModelInfer", infer(MATRIX))
        assert dict(await other.initial_metadata())["x-request-id"] == "made-up"
        await other


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (infer(("x", "FP64", [1, 2], "fp64_contents", [1])), Code.INVALID_ARGUMENT),
        (infer(("a", "FP64", [1], "fp64_contents", [1])), Code.INVALID_ARGUMENT),
        (infer(MATRIX, outputs=[{"name": "fly"}]), Code.INVALID_ARGUMENT),
        (infer(MATRIX, model_version="4"), Code.NOT_FOUND),
        (b"\xff", Code.INVALID_ARGUMENT),
        (infer(("x", "FP64", [1, 2], bytes(2 << 20))), Code.RESOURCE_EXHAUSTED),
    ],
)
async def test_faults_have_their_codes(message: object, code: object) -> None:
    async with serving(Served()) as client:
        assert await refused(client.call("ModelInfer", message)) is code
        assert (await client.call("ModelInfer", infer(MATRIX))).outputs


async def test_a_message_that_unpacks_to_more_than_the_limit_is_refused() -> None:
    async with serving(Served()) as client:
        bomb = infer(("x", "FP64", [1, 2], bytes(64 << 20)))
        call = client.call("ModelInfer", bomb, compression=grpc.Compression.Gzip)
        assert await refused(call) is Code.RESOURCE_EXHAUSTED
        small = client.call("ModelInfer", infer(MATRIX), compression=grpc.Compression.Gzip)
        assert (await small).outputs


@pytest.mark.parametrize(
    ("status", "retry_after", "code"),
    [
        (400, None, Code.INVALID_ARGUMENT),
        (401, None, Code.UNAUTHENTICATED),
        (404, None, Code.NOT_FOUND),
        (408, None, Code.DEADLINE_EXCEEDED),
        (413, None, Code.RESOURCE_EXHAUSTED),
        (415, None, Code.INVALID_ARGUMENT),
        (500, None, Code.INTERNAL),
        (503, None, Code.UNAVAILABLE),
        (503, 1, Code.RESOURCE_EXHAUSTED),
        (504, None, Code.DEADLINE_EXCEEDED),
    ],
)
def test_every_status_of_http_has_a_code(status: int, retry_after: int | None, code: object) -> None:
    assert status_of(RequestError("no", ErrorCode.BAD_REQUEST, status, retry_after=retry_after)) is code


async def test_who_is_to_come_back_is_told_when() -> None:
    async def busy() -> None:
        raise RequestError("busy \ud800 ö", ErrorCode.TEMPORARILY_UNAVAILABLE, 503, retry_after=2)

    async with serving(Served(before=busy)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call("ModelInfer", infer(MATRIX))
        trailers: Any = caught.value.trailing_metadata()
        assert dict(trailers)["grpc-retry-pushback-ms"] == "2000"
        assert caught.value.details() == "busy \\ud800 ö"


async def test_a_fault_of_the_server_tells_nothing_of_itself() -> None:
    async def broken() -> None:
        raise ValueError("a secret")

    async with serving(Served(before=broken)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call("ModelInfer", infer(MATRIX))
        assert (caught.value.code(), caught.value.details()) == (Code.INTERNAL, "The server failed on this request")


async def test_the_clients_deadline_is_the_requests() -> None:
    served = Served()
    async with serving(served) as client:
        await client.call("ModelInfer", infer(MATRIX), timeout=20)
        await client.call("ModelInfer", infer(MATRIX))
    first, second = served.seconds
    # Three digits of it travel, rounded up: 20.001 s are sent as 20.1 s.
    assert first is not None
    assert 0 < first <= 20.1
    assert second is None


async def test_a_client_that_goes_away_ends_its_request() -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(Served(before=endless)) as client:
        call = client.call("ModelInfer", infer(MATRIX))
        async with asyncio.timeout(20):
            # A deadline might pass before the server has begun.
            await entered.wait()
            call.cancel()
            await ended.wait()


async def test_more_requests_at_a_time_than_there_may_be_are_refused() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        await leave.wait()

    async with serving(Served(before=wait), max_requests=1) as client:
        first = asyncio.ensure_future(_of(client.call("ModelInfer", infer(MATRIX))))
        await entered.wait()
        assert await refused(client.call("ModelInfer", infer(MATRIX))) is Code.RESOURCE_EXHAUSTED
        leave.set()
        assert (await first).outputs


async def test_the_end_waits_for_requests_in_flight_and_takes_no_more() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        await leave.wait()

    async with serving(Served(before=wait)) as client:
        first = asyncio.ensure_future(_of(client.call("ModelInfer", infer(MATRIX))))
        await entered.wait()
        end = asyncio.ensure_future(client.server.stop(20))
        while await _answers(client.call("ServerLive", timeout=1)):
            await asyncio.sleep(0.01)
        assert not end.done()
        leave.set()
        assert (await first).outputs
        await end


async def _of(call: Any) -> Any:
    return await call


async def _answers(call: Any) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_a_port_that_is_taken_is_no_port() -> None:
    async with serving(Served()) as client:
        address = f"127.0.0.1:{client.port}"
        with pytest.raises(RuntimeError, match="address"):
            await GrpcServer(Served().backend(), address, max_message_bytes=1, max_requests=1).start()
