"""Passes connections on: `python -m modelyard.sources.forward 5000 http://tracking.example.svc:5000`.

The sidecar behind `template.localTrackingServer`: scripts that name http://localhost:5000 reach the tracking server.
Bytes are passed as they are. It listens on the pod's own loopback addresses only, and ends at once on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "::1")
_CHUNK = 64 << 10
_CONNECT_SECONDS = 10.0
_BACKLOG = 128


class Forwarder:
    """Listens on a port of the given addresses, and passes each connection on to one of its own to a server."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, port: int, addresses: Sequence[str] = LOOPBACK) -> int:
        """Begin to listen; return the port, which is chosen where `port` is 0.

        An address that this machine does not have is left out, as ::1 is where IPv6 is off. Raises `OSError` where the
        port is taken, or none of the addresses is there.
        """
        absent: OSError | None = None
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            if not _has(family, address):
                absent = OSError(f"this machine has no address {address}")
                continue
            server = await asyncio.start_server(self._accept, address, port, limit=_CHUNK, backlog=_BACKLOG)
            self._servers.append(server)
            port = server.sockets[0].getsockname()[1]
        if not self._servers:
            raise absent or OSError("there is no address to listen on")
        return port

    async def close(self) -> None:
        """Stop listening, and drop what is under way."""
        for server in self._servers:
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._connect(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._connections.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                far_reader, far_writer = await asyncio.open_connection(self._host, self._port, limit=_CHUNK)
        except OSError as error:
            # A reset says to the client what it would have met itself: nobody is there.
            print(f"{self._host}:{self._port}: {error or 'no answer'}", file=sys.stderr, flush=True)
            _reset(writer)
            return
        try:
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        except OSError:
            _reset(writer)
            _reset(far_writer)
        finally:
            for each in (writer, far_writer):
                each.close()
        for each in (writer, far_writer):
            with contextlib.suppress(OSError):
                await each.wait_closed()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until their end, and then the end: the other direction goes on."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; a client sees a reset, not an end that looks like an answer."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()


def _has(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def target(uri: str) -> tuple[str, int]:
    """Return the host and port of an http:// URI. Raises `ValueError`.

    https:// is refused: the client would speak TLS to localhost, which the server's certificate does not name.
    """
    parts = urlsplit(uri)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{uri} is no http:// URI of a tracking server, and nothing else can be had at localhost")
    return parts.hostname, parts.port or 80


async def run(port: int, uri: str) -> None:
    """Pass on until SIGTERM or SIGINT. Raises `ValueError` and `OSError` where that cannot begin."""
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, ended.set)
    forwarder = Forwarder(*target(uri))
    print(f"localhost:{await forwarder.listen(port)} is {uri}", flush=True)
    await ended.wait()
    await forwarder.close()


def main(arguments: Sequence[str]) -> int:
    """Run; return the exit code."""
    if len(arguments) != 2 or not arguments[0].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    try:
        asyncio.run(run(int(arguments[0]), arguments[1]))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
