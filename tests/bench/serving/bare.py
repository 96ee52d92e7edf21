"""What uvicorn alone can do: an ASGI application that answers a constant and does not even look at the request."""

from __future__ import annotations

from typing import Any

BODY = b'{"predictions": [0]}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
END = {"type": "http.response.body", "body": BODY}


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(END)
