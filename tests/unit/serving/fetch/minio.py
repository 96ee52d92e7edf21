"""A real MinIO, and in front of it a proxy that counts what it passes on and does harm when it is told to."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3

from modelyard_serving.fetch import Store
from modelyard_serving.fetch.cache import NodeCache
from modelyard_serving.fetch.sign import KeySigner
from tests.e2e.processes import free_port, program, running

BUCKET = "models"
REGION = "us-east-1"


Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


@dataclass
class Passed:
    """One request that went through the proxy."""

    method: str
    key: str
    """Empty for a list."""
    range: str | None
    status: int
    bytes: int = 0
    """Of the body, as far as it was passed on."""


Harm = Callable[[str, str, int, bytes], bytes | None]
"""(key, Range, bytes of the body before these, bytes) → bytes to pass on instead; None: cut the connection."""


class Proxy(ThreadingHTTPServer):
    """Passes on to `upstream`, with the client's own Host, which signatures cover."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[Passed] = []
        self.harm: Harm | None = None
        self.answer: Callable[[str, str, Mapping[str, str]], Answer | None] | None = None
        """(method, key, headers) → an answer that is given instead of the store's."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def downloads(self, key: str | None = None) -> list[Passed]:
        """Requests that were answered with bytes of an object."""
        return [each for each in self.requests if each.key and each.status in (200, 206) and key in (None, each.key)]

    def bytes(self, key: str | None = None) -> int:
        """Bytes of objects that left the store."""
        return sum(each.bytes for each in self.downloads(key))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: Any) -> None:
        pass

    def _pass(self) -> None:
        path = unquote(urlsplit(self.path).path)
        key = path.removeprefix(f"/{BUCKET}").lstrip("/")
        given = self.server.answer and self.server.answer(self.command, key, self.headers)  # type: ignore[arg-type]
        asked = self.headers.get("Range")
        if given:
            status, headers, body = given
            self.server.requests.append(Passed(self.command, key, asked, status, len(body)))
            self._head(status, {**headers, "Content-Length": str(len(body))})
            self.wfile.write(body)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            passed = Passed(self.command, key, asked, response.status)
            self.server.requests.append(passed)
            self._head(response.status, dict(response.getheaders()))
            while piece := response.read1(65536):
                changed: bytes | None = piece
                if self.server.harm and response.status in (200, 206) and key:
                    changed = self.server.harm(key, asked or "", passed.bytes, piece)
                if changed is None:
                    self.close_connection = True
                    with suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                # Before it is sent: who has all of it finds it counted.
                passed.bytes += len(changed)
                self.wfile.write(changed)
        finally:
            connection.close()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_HEAD = do_PUT = _pass  # noqa: N815 - as http.server calls them


@dataclass
class MinioStore:
    """A MinIO with one bucket."""

    endpoint: str
    access_key: str
    secret_key: str
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )

    @property
    def env(self) -> dict[str, str]:
        """What a process needs to read it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
        }

    def put(self, prefix: str, files: Mapping[str, bytes]) -> None:
        for path, content in files.items():
            self.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path}", Body=content)

    def store(self, endpoint: str | None = None, cache: str | None = None, secret_key: str | None = None) -> Store:
        """A reader, by default without a proxy or a cache."""
        signer = KeySigner(self.access_key, secret_key or self.secret_key, None, REGION, endpoint or self.endpoint)
        return Store(signer, NodeCache(cache) if cache else None)


@contextmanager
def run_minio(directory: Path) -> Iterator[MinioStore]:
    """Run a MinIO with the bucket, its data in `directory`."""
    port = free_port()
    made = MinioStore(f"http://127.0.0.1:{port}", "root", secrets.token_hex(16))
    command = [program("minio"), "server", "--quiet", f"--address=127.0.0.1:{port}", str(directory / "data")]
    environment = {"MINIO_ROOT_USER": made.access_key, "MINIO_ROOT_PASSWORD": made.secret_key, "HOME": str(directory)}
    with running(command, directory, environment) as process:
        process.wait_for(f"{made.endpoint}/minio/health/ready")
        made.client.create_bucket(Bucket=BUCKET)
        yield made


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in front of a store."""
    proxy = Proxy(upstream)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


def noise(size: int) -> bytes:
    """Bytes that nothing confuses with each other."""
    return os.urandom(size)
