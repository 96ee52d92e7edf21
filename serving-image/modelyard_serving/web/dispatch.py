"""Takes requests for predictions out of the stream before the framework sees them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard_serving.state import Phase, State
from modelyard_serving.web.requests import REQUEST_ID, RequestIds

HEALTH = ("/ping", "/health")
HEALTH_BODY = b"\n"
_CLOSE: tuple[bytes, bytes] = (b"connection", b"close")


class Dispatch:
    """The ASGI application: POSTs to known paths go straight to their endpoints, all else to the framework's routes.

    What Kubernetes asks is answered here too: while a server starts there is no framework yet.
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp], rest: ASGIApp, state: State, ids: RequestIds) -> None:
        self._endpoints = endpoints
        self._rest = rest
        self._state = state
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (REQUEST_ID, self._ids.of(dict(scope["headers"])))]
                # Tells clients, while the server drains, to open their next connection elsewhere.
                if self._state.phase is Phase.DRAINING:
                    headers.append(_CLOSE)
                message = {**message, "headers": headers}
            await send(message)

        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in HEALTH:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(HEALTH_BODY))]
            status = health_status(self._state)
            await send_named({"type": "http.response.start", "status": status, "headers": headers})
            await send_named({"type": "http.response.body", "body": HEALTH_BODY})
            return
        await self._rest(scope, receive, send_named)


def health_status(state: State) -> int:
    """200 while predictions are answered."""
    return 200 if state.phase is Phase.READY and not state.stuck else 503
