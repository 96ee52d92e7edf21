"""The HTTP application as the server needs it from its first moment: little to import, the rest when there is time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from modelyard_serving.state import State
from modelyard_serving.web import protocols
from modelyard_serving.web.dispatch import Dispatch
from modelyard_serving.web.endpoint import Shared


class Later:
    """An application that is made when it is first asked for, or before, by `make`."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._made: ASGIApp | None = None

    def make(self) -> ASGIApp:
        """The application."""
        with self._lock:
            if self._made is None:
                self._made = self._build()
            return self._made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; those that come too early wait, in no thread of the predictions'."""
        app = self._made
        if app is None:
            app = await asyncio.to_thread(self.make)
        await app(scope, receive, send)


def application(state: State, shared: Shared) -> tuple[Dispatch, Later]:
    """The application over `state`, which may become ready later, and the part of it that is made later."""
    endpoints = protocols.endpoints(shared)

    def rest() -> ASGIApp:
        from modelyard_serving.app import create_rest  # noqa: PLC0415 - see there

        return create_rest(state, shared, endpoints)

    later = Later(rest)
    return Dispatch(endpoints, later, state, shared.ids), later
