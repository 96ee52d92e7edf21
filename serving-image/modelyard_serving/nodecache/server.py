"""The cache's HTTP: `POST /objects` for pods, `/healthz` and `/metrics` for the cluster."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from modelyard_serving import logs
from modelyard_serving.fetch.http import Client, NetworkError
from modelyard_serving.fetch.incoming import CHUNK_BYTES
from modelyard_serving.fetch.ranges import Span, parse_range
from modelyard_serving.fetch.store import Replaced, StoreError, open_span, raise_for_status
from modelyard_serving.nodecache.entries import Entries
from modelyard_serving.nodecache.flights import Failed, Flight, Flights, Result
from modelyard_serving.nodecache.metrics import CONTENT_TYPE, Metrics
from modelyard_serving.nodecache.request import BODY_BYTES, Asked, Refused, parse
from modelyard_serving.nodecache.settings import Settings

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
CLIENT_SECONDS = 60.0
"""How long a client may take for a piece of its request, or of its answer."""
CONNECTIONS = 256
"""Beyond so many, who comes is sent away: to the store."""


class Cache:
    """What the requests share."""

    def __init__(self, settings: Settings) -> None:
        """Raises OSError: the directory."""
        self.endpoints = settings.endpoints
        self.metrics = Metrics()
        self.entries = Entries(settings.directory, settings.limit, self.metrics)
        self.http = Client(CONNECT_SECONDS, READ_SECONDS)
        self.flights = Flights(self.entries, self.http, self.metrics)

    def authorise(self, asked: Asked) -> None:
        """Nothing, if the store confirms that this URL may read this object as it is now.

        Raises Refused with the store's own status, 412 for an object that has been replaced, NetworkError.
        """
        headers = {"If-None-Match": str(asked.item.etag), "Range": "bytes=0-0"}
        with self.http.open(asked.url, headers) as stream:
            if stream.status == 304:
                return
            try:
                # A store that knows no conditions sends the byte, or all of them, which are not read.
                raise_for_status(stream)
            except StoreError as error:
                status = error.status if 400 <= error.status < 500 else 502
                raise Refused(status, f"{error.code}: the store refuses this URL") from None
            if stream.header("ETag") != asked.item.etag:
                raise Refused(412, "the object has another ETag")

    def usage(self) -> dict[str, int]:
        """Gauges."""
        usage = self.entries.usage()
        return {"objects": usage.objects, "size_bytes": usage.bytes, "limit_bytes": self.entries.limit}


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, settings: Settings) -> None:
        self.address_family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self.cache = Cache(settings)
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__((settings.host, settings.port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is one left."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the connection's requests."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, which is no news: what is one is told where it happens."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = CLIENT_SECONDS
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """Health and metrics."""
        if self.path == "/healthz":
            self._answer(200, b"ok\n", "text/plain")
        elif self.path == "/metrics":
            self._answer(200, self.server.cache.metrics.render(self.server.cache.usage()), CONTENT_TYPE)
        else:
            self._answer(404, b"not found\n", "text/plain")

    def do_POST(self) -> None:
        """An object, or a part of it."""
        metrics = self.server.cache.metrics
        try:
            self._serve()
        except Refused as error:
            metrics.add("requests", label="refused")
            self._answer(error.status, f"{error}\n".encode(), "text/plain")
        except NetworkError as error:
            metrics.add("requests", label="failed")
            self._answer(502, f"{error}\n".encode(), "text/plain")

    def log_message(self, *_: object) -> None:
        """Nothing: the metrics say what is asked."""

    def _serve(self) -> None:
        cache = self.server.cache
        asked = parse(self._body(), cache.endpoints)
        try:
            span = parse_range(self.headers.get("Range"), asked.item.size) or Span(0, asked.item.size)
        except ValueError:
            raise Refused(416, "nothing of the object is in the range") from None
        cache.authorise(asked)
        if self._hit(asked, span):
            return
        with cache.flights.join(asked) as (flight, result):
            # Between the look at the directory and the one at the downloads, one may have come to its end.
            if result is Result.LANDED and self._hit(asked, span):
                return
            cache.metrics.add("requests", label="passed" if flight is None else result)
            self._head(asked, span, result)
            self._cut_short_by(lambda: self._send(asked, span, flight))

    def _hit(self, asked: Asked, span: Span) -> bool:
        cache = self.server.cache
        with cache.entries.open(asked.key, asked.item.size) as file:
            if file is None:
                return False
            cache.metrics.add("requests", label="hit")
            self._head(asked, span, "hit")
            self._cut_short_by(lambda: self._send_file(file, span))
            return True

    def _body(self) -> bytes:
        if self.path != "/objects":
            self.close_connection = True
            raise Refused(404, "not found")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > BODY_BYTES:
            self.close_connection = True
            raise Refused(413 if length.isdigit() else 411, f"the body must have at most {BODY_BYTES} bytes")
        return self.rfile.read(int(length))

    def _send_file(self, file: Any, span: Span) -> None:
        self.wfile.flush()
        sent = self.connection.sendfile(file, span.start, span.stop - span.start)
        self.server.cache.metrics.add("bytes", sent, "cache")
        if sent != span.stop - span.start:
            raise Failed("the file is shorter than it was")

    def _send(self, asked: Asked, span: Span, flight: Flight | None) -> None:
        """From the download, and from where that fails on from the store, by the pod's own URL."""
        offset = span.start
        metrics = self.server.cache.metrics
        if flight is not None:
            try:
                for data in flight.read(offset, span.stop):
                    self.wfile.write(data)
                    offset += len(data)
                    metrics.add("bytes", len(data), "cache")
            except Failed as error:
                logs.warning("passing_on", error=str(error)[:300])
        if offset < span.stop:
            for data in self._pass(asked, Span(offset, span.stop)):
                self.wfile.write(data)
                metrics.add("bytes", len(data), "store")

    def _pass(self, asked: Asked, span: Span) -> Iterator[bytes]:
        left = span.stop - span.start
        buffer = memoryview(bytearray(min(CHUNK_BYTES, left)))
        with open_span(self.server.cache.http, asked.url, asked.item, span) as stream:
            while left and (count := stream.readinto(buffer[:left])):
                left -= count
                self.server.cache.metrics.add("store_bytes", count)
                yield bytes(buffer[:count])
        if left:
            raise NetworkError(f"{left} bytes are missing")

    def _cut_short_by(self, send: Any) -> None:
        """Send a body; what goes wrong once the answer has begun can only be shown by its end."""
        try:
            send()
        except (Failed, NetworkError, StoreError, Replaced, OSError) as error:
            self.close_connection = True
            logs.warning("cut_short", error=f"{type(error).__name__}: {error}"[:300])

    def _head(self, asked: Asked, span: Span, result: str) -> None:
        self.send_response_only(206)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(span.stop - span.start))
        self.send_header("Content-Range", f"bytes {span.start}-{span.stop - 1}/{asked.item.size}")
        self.send_header("ETag", str(asked.item.etag))
        self.send_header("X-Modelyard-Cache", result)
        self.end_headers()

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
