"""HTTP to servers that are not trusted: every request is bounded in time and size, whatever the server does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

MAX_BYTES = 1024 * 1024
"""Of an answer. A model pod's metrics have about a tenth of it."""

_AT_ONCE = 256
_LATE = 10.0
"""Seconds that the loop's thread may be late, on a machine that is busy."""


class NoAnswer(Exception):
    """The server gave no answer that can be used; the message says why, without anything that it said."""


@dataclass(frozen=True)
class Ask:
    """One request. `url` comes with its path; the body is JSON."""

    url: str
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """Status and body of a response."""

    status: int
    body: bytes


class Client:
    """Sends requests at the same time, from any thread. An event loop in a thread of its own bounds them as a whole.

    Neither redirects nor proxies of the environment are followed, and compressed answers are not unpacked.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self, requests: Iterable[Ask]) -> list[Answer | NoAnswer]:
        """Return the answers in the order of the requests, within the timeout; failures are returned, not raised."""
        wanted = list(requests)
        if not wanted:
            return []
        running = asyncio.run_coroutine_threadsafe(self._all(wanted), self._running_loop())
        try:
            return running.result(self._timeout + _LATE)
        except TimeoutError:
            running.cancel()
            return [NoAnswer("the operator is too busy to ask") for _ in wanted]

    def close(self) -> None:
        """End the loop's thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="metrics", daemon=True).start()
            return self._loop

    async def _all(self, wanted: list[Ask]) -> list[Answer | NoAnswer]:
        connector = aiohttp.TCPConnector(limit=_AT_ONCE, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "modelyard-operator", "Accept-Encoding": "identity"},
        ) as session:
            return await asyncio.gather(*(self._one(session, ask) for ask in wanted))

    async def _one(self, session: aiohttp.ClientSession, ask: Ask) -> Answer | NoAnswer:
        try:
            async with asyncio.timeout(self._timeout):
                return await _exchange(session, ask)
        except TimeoutError:
            return NoAnswer(f"no answer within {self._timeout:g} s")
        except aiohttp.ClientConnectorError as error:
            return NoAnswer(f"no connection ({error.os_error.strerror or type(error.os_error).__name__})")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return NoAnswer(f"no HTTP answer ({type(error).__name__})")
        except NoAnswer as error:
            return error


async def _exchange(session: aiohttp.ClientSession, ask: Ask) -> Answer:
    headers = {**ask.headers, **({"Content-Type": "application/json"} if ask.body is not None else {})}
    url = URL(ask.url).update_query(dict(ask.query))
    async with session.request(ask.method, url, headers=headers, data=ask.body, allow_redirects=False) as response:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BYTES:
                raise NoAnswer(f"an answer of more than {MAX_BYTES} bytes")
        return Answer(response.status, bytes(body))


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
