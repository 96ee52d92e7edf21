"""Reads a request's body within limits of size, memory and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive

from modelyard_serving.errors import Rejection, RequestError
from modelyard_serving.web.budget import Budget
from modelyard_serving.web.slow import SlowClients


class Body:
    """The body of one request, while it is held in memory."""

    def __init__(self, receive: Receive, limit: int, budget: Budget, slow: SlowClients) -> None:
        """`limit`: bytes that it may have."""
        self._slow = slow
        self._receive = receive
        self._limit = limit
        self._budget = budget
        self._held = 0

    async def read(self, headers: Mapping[bytes, bytes], seconds: float) -> bytes | None:
        """All of it, or None if the client went away.

        Raises RequestError: 413 once it is known to be too long, 408 if it takes longer than `seconds` to arrive, 503
        if other requests hold too much memory. The rest of such a body is not read.
        """
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > self._limit):
            raise self._too_long()
        reading = self._slow.begin(seconds)
        try:
            return await self._chunks()
        except asyncio.CancelledError:
            if not reading.expired or reading.task is None or reading.task.uncancel():
                raise
            raise RequestError(
                f"The request took longer than {seconds:g} seconds to arrive", status=408, rejection=Rejection.SLOW
            ) from None
        finally:
            self._slow.end(reading)

    def release(self) -> None:
        """Give its memory back to the budget."""
        self._budget.give(self._held)
        self._held = 0

    async def _chunks(self) -> bytes | None:
        chunks: list[bytes] = []
        while (message := await self._receive())["type"] == "http.request":
            chunk = message.get("body", b"")
            if self._held + len(chunk) > self._limit:
                raise self._too_long()
            self._budget.take(len(chunk))
            self._held += len(chunk)
            if not message.get("more_body", False):
                return b"".join([*chunks, chunk]) if chunks else chunk
            chunks.append(chunk)
        return None

    def _too_long(self) -> RequestError:
        return RequestError(
            f"The request body is larger than {self._limit} bytes", status=413, rejection=Rejection.TOO_LONG
        )
