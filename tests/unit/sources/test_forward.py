"""The forwarder between real sockets, and as the process that a sidecar runs."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from modelyard.sources.forward import Forwarder, target
from tests.e2e.processes import free_port, wait_until

SECONDS = 20.0


@contextmanager
def far(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server whose every connection is handled by `answer`, in a thread of its own; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads: list[threading.Thread] = []

        def handle(connection: socket.socket) -> None:
            with connection:
                connection.settimeout(SECONDS)
                answer(connection)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=handle, args=(connection,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


@contextmanager
def forwarder(to: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard.sources.forward", str(port), f"http://127.0.0.1:{to}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"localhost:{port} is http://127.0.0.1:{to}\n"
        yield process, port
    finally:
        process.kill()
        process.communicate()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("localhost", port), timeout=SECONDS)


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def echo_after_the_end(connection: socket.socket) -> None:
    """Answers only when the client has said all it had to say, as a half-closed connection allows."""
    connection.sendall(hashlib.sha256(everything(connection)).digest())


def test_bytes_and_the_end_of_each_direction_are_passed_on() -> None:
    sent = os.urandom(5 << 20)
    with far(echo_after_the_end) as to, forwarder(to) as (_, port), connect(port) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert everything(client) == hashlib.sha256(sent).digest()


def test_the_far_end_may_end_first() -> None:
    def say_and_listen(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        heard.append(everything(connection))

    heard: list[bytes] = []
    with far(say_and_listen) as to, forwarder(to) as (_, port), connect(port) as client:
        assert everything(client) == b"hello"
        client.sendall(b"still here")
        client.shutdown(socket.SHUT_WR)
        wait_until("the rest arrives", lambda: heard == [b"still here"], SECONDS)


def test_connections_do_not_wait_for_each_other() -> None:
    with far(echo_after_the_end) as to, forwarder(to) as (_, port):
        clients = [connect(port) for _ in range(50)]
        for index, client in reversed(list(enumerate(clients))):
            client.sendall(bytes([index]))
            client.shutdown(socket.SHUT_WR)
            assert everything(client) == hashlib.sha256(bytes([index])).digest()
            client.close()


def test_a_reader_that_is_slow_holds_up_its_sender_and_not_the_forwarders_memory() -> None:
    done = threading.Event()

    def read_nothing(_: socket.socket) -> None:
        done.wait(SECONDS)

    with far(read_nothing) as to, forwarder(to) as (process, port):
        before = resident(process.pid)
        with connect(port) as client:
            client.setblocking(False)
            deadline, sent, stalled = time.monotonic() + SECONDS, 0, 0
            while stalled < 20 and time.monotonic() < deadline:
                try:
                    sent += client.send(bytes(1 << 20))
                    stalled = 0
                except BlockingIOError:
                    stalled += 1
                    threading.Event().wait(0.02)
            assert stalled == 20, f"{sent} bytes were taken"
            assert resident(process.pid) - before < 8 << 20
            done.set()


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_it_needs_little_memory() -> None:
    with far(echo_after_the_end) as to, forwarder(to) as (process, _):
        assert resident(process.pid) < 32 << 20


def expect_reset(port: int) -> None:
    """Connect; the other side breaks the connection, and be it before this side has heard that it stands."""
    with pytest.raises(ConnectionResetError), connect(port) as client:
        client.recv(1)


def test_a_server_that_is_not_there_is_a_reset_and_the_next_one_is_tried() -> None:
    port = free_port()
    with forwarder(port) as (process, here):
        expect_reset(here)
        assert process.stderr is not None
        assert f"127.0.0.1:{port}: " in process.stderr.readline()
        with socket.create_server(("127.0.0.1", port)) as listening, connect(here):
            listening.settimeout(SECONDS)
            listening.accept()[0].close()


def test_a_connection_that_breaks_is_broken_on_the_other_side() -> None:
    with far(abort) as to, forwarder(to) as (_, port):
        expect_reset(port)


def abort(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_with_a_connection_under_way(name: signal.Signals) -> None:
    with far(echo_after_the_end) as to, forwarder(to) as (process, port), connect(port) as client:
        client.sendall(b"x")
        process.send_signal(name)
        assert process.wait(SECONDS / 2) == 0, "it waits for the other side, which gives up after SECONDS"
        assert is_gone(client)
        _, errors = process.communicate()
        assert errors == ""


def is_gone(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = f"{self.headers['Host']} asks for {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_http_works_through_it() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with (
            forwarder(server.server_address[1]) as (_, port),
            urlopen(f"http://localhost:{port}/x", timeout=SECONDS) as page,
        ):
            assert page.read() == f"localhost:{port} asks for /x".encode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_it_listens_on_every_loopback_address_that_there_is() -> None:
    passing = Forwarder("127.0.0.1", 1)
    port = await passing.listen(0, ["127.0.0.1", "127.0.0.2", "192.0.2.1"])
    try:
        for address in ("127.0.0.1", "127.0.0.2"):
            socket.create_connection((address, port), timeout=SECONDS).close()
    finally:
        await passing.close()
    with pytest.raises(OSError, match=r"no address 192\.0\.2\.1"):
        await Forwarder("127.0.0.1", 1).listen(0, ["192.0.2.1"])


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("http://tracking.ns.svc:5000", ("tracking.ns.svc", 5000)),
        ("http://tracking/", ("tracking", 80)),
        ("http://[::1]:8080", ("::1", 8080)),
    ],
)
def test_the_server_is_named_by_its_uri(uri: str, found: tuple[str, int]) -> None:
    assert target(uri) == found


@pytest.mark.parametrize("uri", ["https://tracking:5000", "tracking:5000", "http://", "sqlite:///mlflow.db"])
def test_nothing_but_plain_http_can_be_had_at_localhost(uri: str) -> None:
    with pytest.raises(ValueError, match=r"is no http:// URI of a tracking server"):
        target(uri)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "python -m modelyard.sources.forward"),
        (["x", "http://a"], 2, "python -m modelyard.sources.forward"),
        (["0", "https://a"], 1, "is no http:// URI"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], code: int, says: str) -> None:
    command = [sys.executable, "-m", "modelyard.sources.forward", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (ran.returncode, says in ran.stderr) == (code, True)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "modelyard.sources.forward", str(port), "http://127.0.0.1:1"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 1
    assert "address already in use" in ran.stderr
