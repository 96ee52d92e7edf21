"""Servers that answer as they are told, in the process of the test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from modelyard.metrics.scrape import PodAddress


@dataclass
class Request:
    """What a server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Fake:
    """A server: `answers` maps "METHOD /path" (without the query) to (status, body)."""

    name: str
    port: int
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @property
    def pod(self) -> PodAddress:
        return PodAddress(self.name, "127.0.0.1", self.port)

    def asked(self, method: str, path: str) -> list[Request]:
        return [request for request in self.requests if request.method == method and request.path.startswith(path)]


@contextmanager
def serving() -> Iterator[Callable[..., Fake]]:
    """Gives what starts a server."""
    servers: list[ThreadingHTTPServer] = []

    def start(name: str = "pod", **answers: tuple[int, str]) -> Fake:
        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                fake.requests.append(Request(self.command, self.path, dict(self.headers.items()), body))
                status, text = fake.answers.get(f"{self.command} {self.path.partition('?')[0]}", (404, ""))
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("location", text)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = _answer  # noqa: N815 - the names that http.server asks for

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        fake = Fake(name, server.server_address[1], dict(answers))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return fake

    try:
        yield start
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@contextmanager
def raw(sent: bytes, *, every: float | None = None) -> Iterator[PodAddress]:
    """A server that sends bytes to everyone who connects: once, or again and again until it ends."""
    ended = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                # A request that is left unread would reset the connection before the answer is read.
                connection.recv(65536)
                connection.sendall(sent)
                while every is not None and not ended.is_set():
                    time.sleep(every)
                    connection.sendall(sent[-1:])
                if not sent:
                    ended.wait(30)
            except OSError:
                pass

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield PodAddress("raw", "127.0.0.1", listening.getsockname()[1])
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
