"""A receiver of webhooks: a real HTTP server that verifies what it takes with Standard Webhooks' own library."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

Json = dict[str, Any]


@dataclass(frozen=True)
class Delivery:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Json:
        return dict(json.loads(self.body))


@dataclass
class Receiver:
    """`answer` says which code a request gets, None for no answer before the test's end; `taken` are those with 2xx."""

    secret: str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    answer: Callable[[Delivery], int | None] = lambda _: 204
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers of each answer."""

    requests: list[Delivery] = field(default_factory=list)
    taken: list[Delivery] = field(default_factory=list)
    port: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/models?token=hidden"

    @property
    def sequences(self) -> list[int]:
        """The sequences of the events that were taken."""
        return [int(delivery.event["id"].rsplit("/", 1)[1]) for delivery in self.taken]

    def handle(self, delivery: Delivery) -> int | None:
        self.requests.append(delivery)
        # Raises where the signature is not of these bytes, or of long ago.
        Webhook(self.secret).verify(delivery.body, delivery.headers)
        code = self.answer(delivery)
        if code is not None and 200 <= code < 300:
            self.taken.append(delivery)
        return code


@contextmanager
def receiver(**options: Any) -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    made = Receiver(**options)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            code = made.handle(Delivery(self.path, headers, body))
            if code is None:
                made.ended.wait(30)
                return
            self.send_response(code)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
