"""Git transports with bounds: each network operation has a timeout, and each whole exchange a deadline and a size.

A repository's address is written by users; without the bounds a server that answers slowly, or for ever, would keep one
of the operator's workers.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any
from urllib.parse import urlsplit

import urllib3
from dulwich.client import (
    GitClient,
    HTTPProxyUnauthorized,
    HTTPUnauthorized,
    TCPGitClient,
    Urllib3HttpGitClient,
    default_urllib3_manager,
)
from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.protocol import DEFAULT_GIT_PROTOCOL_VERSION_FETCH, TCP_GIT_PORT, Protocol

from modelyard.sources.errors import SourceNotFound, SourceUnreachable

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 15.0
_REDIRECTS = 3

Read = Callable[..., bytes]


class Bounds:
    """The deadline and the size of one exchange, counted from its construction."""

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._limit = limit
        self._ends = time.monotonic() + seconds
        self._received = 0

    def guard(self, read: Read) -> Read:
        """Return `read`, which from now on raises `SourceError` once a bound is passed."""

        def guarded(*arguments: Any, **keywords: Any) -> bytes:
            data = read(*arguments, **keywords)
            self._received += len(data)
            if self._received > self._limit:
                raise SourceNotFound(f"the repository sends more than {self._limit >> 20} MiB")
            if time.monotonic() > self._ends:
                raise SourceUnreachable(f"the git server did not finish within {self._seconds:.0f} s")
            return data

        return guarded


class _HttpClient(Urllib3HttpGitClient):
    def __init__(self, base_url: str, bounds: Bounds) -> None:
        manager = default_urllib3_manager(None, base_url=base_url)
        # The pool manager's own answer to a failing server is to try again, for minutes.
        manager.connection_pool_kw["retries"] = urllib3.Retry(0, redirect=_REDIRECTS)
        manager.connection_pool_kw["timeout"] = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
        super().__init__(base_url, pool_manager=manager, quiet=True)
        self._bounds = bounds

    def _http_request(self, *arguments: Any, **keywords: Any) -> Any:
        response, read = super()._http_request(*arguments, **keywords)
        return response, self._bounds.guard(read)

    def disconnect(self) -> None:
        """Close the connections, also those that a fault left in the middle of an answer."""
        self.pool_manager.clear()


class _TcpClient(TCPGitClient):
    def __init__(self, host: str, port: int | None, bounds: Bounds) -> None:
        super().__init__(host, port, quiet=True)
        self._bounds = bounds
        self._opened: list[Callable[[], None]] = []

    def disconnect(self) -> None:
        """Close the connections; the base class leaves them open after a fault."""
        while self._opened:
            self._opened.pop()()

    def _connect(
        self, cmd: bytes, path: str | bytes, protocol_version: int | None = None
    ) -> tuple[Protocol, Callable[[], bool], IO[bytes] | None]:
        """Connect as the base class does, which knows no timeout."""
        port = self._port or TCP_GIT_PORT
        connection = socket.create_connection((self._host, port), timeout=_CONNECT_SECONDS)
        connection.settimeout(_READ_SECONDS)
        incoming = connection.makefile("rb")
        outgoing = connection.makefile("wb", 0)

        def close() -> None:
            incoming.close()
            outgoing.close()
            connection.close()

        def shut_down_writing() -> None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

        protocol = Protocol(self._bounds.guard(incoming.read), outgoing.write, close, shutdown_write=shut_down_writing)
        self._opened.append(protocol.close)
        self.protocol_version = DEFAULT_GIT_PROTOCOL_VERSION_FETCH if protocol_version is None else protocol_version
        version = b"\0\0version=%d\0" % self.protocol_version if self.protocol_version else b""
        where = path if isinstance(path, bytes) else path.encode()
        host = f"{self._host}:{port}" if self._port else self._host
        protocol.send_cmd(b"git-" + cmd, where, b"host=" + host.encode() + version)
        return protocol, lambda: False, None


@contextmanager
def connection(url: str, bounds: Bounds) -> Iterator[tuple[GitClient, str]]:
    """Give the client for a repository's URL, and the repository's path there; close what it opened.

    The faults of git and the network are raised as `SourceError`, with the URL in the message.
    """
    parts = urlsplit(url)
    client: _HttpClient | _TcpClient
    if parts.scheme in ("http", "https") and parts.hostname:
        client = _HttpClient(f"{parts.scheme}://{parts.netloc}", bounds)
    elif parts.scheme == "git" and parts.hostname:
        client = _TcpClient(parts.hostname, parts.port, bounds)
    else:
        raise SourceNotFound(f"{url} is no http://, https:// or git:// URL")
    try:
        yield client, parts.path
    except NotGitRepository as error:
        raise SourceNotFound(f"there is no git repository at {url}") from error
    except (HTTPUnauthorized, HTTPProxyUnauthorized) as error:
        raise SourceNotFound(f"{url} does not exist or asks for credentials, which are not supported") from error
    except (GitProtocolError, OSError, urllib3.exceptions.HTTPError) as error:
        raise SourceUnreachable(f"{url}: {' '.join(str(error).split()) or type(error).__name__}") from error
    finally:
        client.disconnect()
