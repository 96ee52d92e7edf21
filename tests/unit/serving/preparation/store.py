"""A store that takes PUTs at signed URLs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Store:
    """What was put, by path; `statuses` are answered first, one each."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.order: list[str] = []
        self.statuses: list[int] = []
        self.url = ""


@contextmanager
def running() -> Iterator[Store]:
    store = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = store.statuses.pop(0) if store.statuses else 200
            if status == 200:
                path = self.path.partition("?")[0]
                store.objects[path] = body
                store.order.append(path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"" if status == 200 else b"<Error><Code>Refused</Code></Error>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
