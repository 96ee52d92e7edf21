"""A body is read within limits of size, memory and time, and what was taken is given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modelyard_serving.errors import RequestError
from modelyard_serving.web.body import Body
from modelyard_serving.web.budget import Budget
from modelyard_serving.web.slow import SlowClients


class Client:
    """Sends chunks, and then does what it is told."""

    def __init__(self, *chunks: bytes, then: str = "end") -> None:
        self._chunks = list(chunks)
        self._then = then

    async def __call__(self) -> dict[str, Any]:
        if self._chunks:
            chunk = self._chunks.pop(0)
            more = bool(self._chunks) or self._then != "end"
            return {"type": "http.request", "body": chunk, "more_body": more}
        if self._then == "wait":
            await asyncio.sleep(3600)
        return {"type": "http.disconnect"}


async def read(client: Client, budget: Budget, seconds: float = 30, **headers: str) -> tuple[bytes | None, Body]:
    body = Body(client, 10, budget, SlowClients())
    given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return await body.read(given, seconds), body


@pytest.mark.parametrize("chunks", [[b""], [b"0123456789"], [b"01", b"", b"23456789"]])
async def test_a_body_arrives_as_it_was_sent(chunks: list[bytes]) -> None:
    budget = Budget(100)
    content, body = await read(Client(*chunks), budget)
    assert content == b"".join(chunks)
    assert budget.held == len(b"".join(chunks))
    body.release()
    assert budget.held == 0


async def test_a_client_that_goes_away_gets_no_answer() -> None:
    budget = Budget(100)
    content, body = await read(Client(b"01", then="leave"), budget)
    assert content is None
    body.release()
    assert budget.held == 0


@pytest.mark.parametrize(
    ("client", "length", "status"),
    [
        (Client(b"0" * 11), "11", 413),
        (Client(b"0" * 11), "9" * 5000, 413),
        (Client(b"0" * 6, b"0" * 5), "3", 413),
        (Client(b"0" * 9, then="wait"), "10", 408),
    ],
)
async def test_what_is_too_long_or_too_slow_is_refused(client: Client, length: str, status: int) -> None:
    with pytest.raises(RequestError) as raised:
        await read(client, Budget(100), 0.05, content_length=length)
    assert raised.value.status == status
    # The task that waited goes on: its cancellation was ours.
    await asyncio.sleep(0)


async def test_others_may_hold_too_much_already() -> None:
    budget = Budget(100)
    budget.take(95)
    with pytest.raises(RequestError, match="requests of 95 bytes") as raised:
        await read(Client(b"0" * 6), budget)
    assert (raised.value.status, raised.value.retry_after, budget.held) == (503, 1, 95)


async def test_an_end_of_the_process_is_not_taken_for_a_slow_client() -> None:
    task = asyncio.create_task(read(Client(b"0", then="wait"), Budget(100)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
