"""One way for a request for predictions, whatever its protocol: read, predict, answer, count, remember."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from modelyard_serving import logs
from modelyard_serving.call import PREDICT, Reply
from modelyard_serving.errors import ErrorCode, Rejection, RequestError
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.recent import Recent
from modelyard_serving.state import Phase, State
from modelyard_serving.telemetry.note import Note
from modelyard_serving.telemetry.telemetry import Telemetry
from modelyard_serving.web.body import Body
from modelyard_serving.web.budget import Budget
from modelyard_serving.web.requests import (
    ENCODING,
    REQUEST_ID,
    RequestIds,
    query_of,
    require_few_values,
    require_plain,
    seconds_of,
)
from modelyard_serving.web.slow import SlowClients

T = TypeVar("T")
Refuse = Callable[[RequestError], Reply]

INLINE_BYTES = 32 * 1024
"""A longer body is read in a thread: the event loop, and all other requests with it, would wait."""
INLINE_ROWS = 256
"""An answer of more rows is written in a thread."""
JSON_DIALECTS = {"mlflow", "v1", "v2"}
HELD_BODIES = 4
"""How many bodies of the largest size may be held at a time."""

_CLOSE: tuple[bytes, bytes] = (b"connection", b"close")


class Shared:
    """What all endpoints of a process have in common."""

    def __init__(self, state: State, telemetry: Telemetry | None = None) -> None:
        config = state.config
        self.state = state
        self.telemetry = telemetry
        self.recent = Recent(config.recent_requests)
        self.ids = RequestIds()
        self.slow = SlowClients()
        self.budget = Budget(config.max_body_bytes * HELD_BODIES)
        self.headers = [
            (b"x-modelyard-model", _header(config.model_name)),
            (b"x-modelyard-version", _header(config.model_version)),
        ]
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="read")
        self._waiting = 0

    async def in_thread(self, function: Callable[[], T], seconds: float) -> T:
        """The function's result.

        Raises RequestError: 503 if too many wait for a thread, 504 if it takes too long, though its thread goes on.
        """
        if self._waiting >= self.state.config.max_queue:
            message = f"The server is busy: {self._waiting} requests wait to be read"
            raise RequestError(
                message, ErrorCode.TEMPORARILY_UNAVAILABLE, 503, retry_after=1, rejection=Rejection.QUEUE
            )
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, function)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), seconds)
        except TimeoutError as error:
            message = f"The request took longer than {seconds:g} seconds"
            raise RequestError(message, ErrorCode.DEADLINE_EXCEEDED, 504, rejection=Rejection.DEADLINE) from error

    def _done(self, future: asyncio.Future[T]) -> None:
        self._waiting -= 1
        # Nobody may wait for it any more.
        if not future.cancelled():
            future.exception()


class Endpoint:
    """POST in one dialect, as plain ASGI: what these requests cost beyond the prediction is what matters here."""

    def __init__(self, shared: Shared, dialect: str, refuse: Refuse) -> None:
        """`refuse` writes errors before there is a model, too."""
        self.shared = shared
        self._state = shared.state
        self._metrics = shared.state.metrics
        self._dialect = dialect
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that went away gets none."""
        self._metrics.in_flight += 1
        body = Body(receive, self._state.config.max_body_bytes, self.shared.budget, self.shared.slow)
        try:
            await self._respond(scope, body, send)
        finally:
            self._metrics.in_flight -= 1
            body.release()

    async def _respond(self, scope: Scope, body: Body, send: Send) -> None:
        given: dict[bytes, bytes] = dict(scope["headers"])
        identity = self.shared.ids.of(given)
        telemetry, note = self.shared.telemetry, None
        if telemetry is not None:
            note = telemetry.begin(self._dialect, scope["method"], scope["path"], given, identity)
        closing = self._state.phase is Phase.DRAINING
        begin = perf_counter()
        try:
            # Before anything is read for it.
            _ = self._state.model
            if ENCODING in given:
                require_plain(given[ENCODING])
            seconds = seconds_of(given, self._state.config.request_seconds)
            content = await body.read(given, seconds)
            if content is None:
                return
            # How long a client takes to send its request says nothing about this server.
            begin = perf_counter()
            reply = await self.answer(HttpRequest(content, given, query_of(scope["query_string"])), seconds, note)
        except RequestError as error:
            # The rest of a body that was not read whole cannot be followed by another request.
            closing = closing or error.status in (408, 413, 415, 503)
            self.failed(error, identity, note)
            reply = self._refusal(error)
        except asyncio.CancelledError:
            # Only the end of the process cancels, when a request takes longer than it may. The task ends with this.
            message = "The server is shutting down"
            reply = self._refusal(RequestError(message, ErrorCode.TEMPORARILY_UNAVAILABLE, 503))
        except Exception as error:
            broken = RequestError("The server failed on this request", ErrorCode.INTERNAL_ERROR, 500)
            self.failed(broken, identity, note, repr(error))
            reply = self._refusal(broken)
        # Before it is sent: who has the answer finds it counted.
        self._metrics.answered(reply.status, perf_counter() - begin, self._dialect)
        if telemetry is not None and note is not None:
            note.has_ended(reply.status, len(reply.body))
            telemetry.end(note)
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            *self.shared.headers,
            (REQUEST_ID, identity),
            *reply.headers,
        ]
        if closing:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def answer(self, request: HttpRequest, seconds: float, note: Note | None = None) -> Reply:
        """The answer within so many seconds. Raises RequestError."""
        if note is not None:
            note.was_received(len(request.body))
        model = self._state.model
        dialect = model.dialects[self._dialect]
        if len(request.body) > INLINE_BYTES:
            if self._dialect in JSON_DIALECTS:
                require_few_values(request, self._state.config.max_values)
            call = await self.shared.in_thread(lambda: dialect.quick(request) or dialect.read(request), seconds)
        elif (quick := dialect.quick(request)) is not None:
            call = quick
        else:
            call = await self.shared.in_thread(lambda: dialect.read(request), seconds)
        if note is not None:
            note.was_read(call.rows)
        result = await model.engine.run(call, seconds)
        if note is not None:
            note.has_run(result.seconds)
        if call.rows <= INLINE_ROWS:
            reply = dialect.write(call, result)
        else:
            reply = await self.shared.in_thread(lambda: dialect.write(call, result), seconds)
        self.shared.recent.add(self._dialect, request, reply.body, result.seconds)
        if call.methods[0] == PREDICT:
            self._metrics.answers.add(self._dialect, reply.body)
        return reply

    def failed(self, error: RequestError, identity: bytes, note: Note | None, cause: str = "") -> None:
        """Count and log an error: never what the client sent, so of its own faults no more than their code."""
        if error.rejection is not None:
            self._metrics.rejected(error.rejection)
        if note is not None:
            note.error = error.code
        # That there is no model yet is in the log already.
        in_access_log = self.shared.telemetry is not None and self.shared.telemetry.logs_access
        if self._state.loaded is not None and (error.status >= 500 or not in_access_log):
            logs.request_failed(
                request_id=identity.decode("ascii"),
                protocol=self._dialect,
                status=error.status,
                error_code=error.code,
                **({"error": (cause or error.message)[:500]} if error.status >= 500 else {}),
            )

    def _refusal(self, error: RequestError) -> Reply:
        reply = self._refuse(error)
        if error.retry_after is None:
            return reply
        headers = (*reply.headers, (b"retry-after", b"%d" % error.retry_after))
        return Reply(reply.body, reply.content_type, reply.status, headers)


def _header(value: str) -> bytes:
    """A name as a header's value: printable ASCII as it is, the rest percent-encoded as UTF-8."""
    return quote(value, safe=" !#$&'()*+,/:;<=>?@[]^`{|}").encode()
