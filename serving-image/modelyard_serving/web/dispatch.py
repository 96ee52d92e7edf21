"""Takes requests for predictions out of the stream before the framework sees them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard_serving.state import Phase, State

HEALTH = ("/ping", "/health")
HEALTH_BODY = b"\n"
_CLOSE: tuple[bytes, bytes] = (b"connection", b"close")


class Dispatch:
    """The ASGI application: POSTs to known paths go straight to their endpoints, all else to the framework's routes.

    What Kubernetes asks is answered here too: while a server starts there is no framework yet.
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp], rest: ASGIApp, state: State) -> None:
        self._endpoints = endpoints
        self._rest = rest
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return

        async def send_closing(message: Message) -> None:
            # Tells clients, while the server drains, to open their next connection elsewhere.
            if message["type"] == "http.response.start" and self._state.phase is Phase.DRAINING:
                message = {**message, "headers": [*message.get("headers", []), _CLOSE]}
            await send(message)

        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in HEALTH:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(HEALTH_BODY))]
            status = health_status(self._state)
            await send_closing({"type": "http.response.start", "status": status, "headers": headers})
            await send_closing({"type": "http.response.body", "body": HEALTH_BODY})
            return
        await self._rest(scope, receive, send_closing)


def health_status(state: State) -> int:
    """200 while predictions are answered."""
    return 200 if state.phase is Phase.READY and not state.stuck else 503
