"""Git transports with bounds: each network operation has a timeout, and each whole exchange a deadline and a size.

A repository's address is written by users; without the bounds a server that answers slowly, or for ever, would keep one
of the operator's workers. Credentials go to the address that they were given for and to nobody else.
"""

from __future__ import annotations

import shlex
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Self
from urllib.parse import urlsplit

import paramiko
import urllib3
from dulwich.client import (
    GitClient,
    TraditionalGitClient,
    Urllib3HttpGitClient,
    default_urllib3_manager,
)
from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.protocol import DEFAULT_GIT_PROTOCOL_VERSION_FETCH, Protocol
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from modelyard.sources.address import Address, parse, shown
from modelyard.sources.credentials import FIELD, Credentials
from modelyard.sources.errors import SourceNotFound, SourceUnreachable
from modelyard.sources.ssh import Session

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 15.0
_SSH_STEP_SECONDS = 10.0
_REDIRECTS = 3

Read = Callable[..., bytes]


class Bounds:
    """The deadline and the size of one exchange, which may have several connections, counted from its construction.

    As a context manager it closes, once the time is over, the connections that are open then: a server that sends a
    byte now and then keeps every timeout of its own.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._limit = limit
        self._ends = time.monotonic() + seconds
        self._received = 0
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(max(seconds, 0), self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Start the clock that cuts."""
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._timer.cancel()
        with self._lock:
            self._sockets.clear()

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._ends

    def watch(self, connection: socket.socket) -> None:
        """Have a connection cut at the deadline."""
        with self._lock:
            self._sockets.append(connection)
        if self.over:
            self._cut()

    def late(self) -> SourceUnreachable:
        """Return the error of an exchange whose time is over."""
        return SourceUnreachable(f"the git server did not finish within {self._seconds:.0f} s")

    def guard(self, read: Read) -> Read:
        """Return `read`, which from now on raises `SourceError` once a bound is passed."""

        def guarded(*arguments: Any, **keywords: Any) -> bytes:
            data = read(*arguments, **keywords)
            self._received += len(data)
            if self._received > self._limit:
                raise SourceNotFound(f"the repository sends more than {self._limit >> 20} MiB")
            if self.over:
                raise self.late()
            return data

        return guarded

    def _cut(self) -> None:
        with self._lock:
            for connection in self._sockets:
                # Also below TLS, which would wait for the other side to say goodbye.
                with suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class Refused(GitProtocolError):
    """The server's answer is none of git; `status` is HTTP's."""

    def __init__(self, status: int, where: str) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.where = where


class _HttpClient(Urllib3HttpGitClient):
    def __init__(self, address: Address, bounds: Bounds, credentials: Credentials | None) -> None:
        base_url = f"{address.scheme}://{address.netloc}"
        manager = default_urllib3_manager(None, base_url=base_url)
        assert isinstance(manager, urllib3.PoolManager)
        # The pool manager's own answer to a failing server is to try again, for minutes.
        manager.connection_pool_kw["retries"] = urllib3.Retry(
            total=None, connect=0, read=0, status=0, other=0, redirect=_REDIRECTS
        )
        manager.connection_pool_kw["timeout"] = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
        if credentials and (authority := credentials.authority):
            manager.connection_pool_kw["ssl_context"] = _trusting(authority, credentials)
        manager.pool_classes_by_scheme = _watched_pools(bounds)
        super().__init__(base_url, pool_manager=manager, quiet=True)
        if credentials and credentials.speaks_http():
            # The base class shows them to this origin alone, whatever a redirect says; so does urllib3.
            self._auth_header = credentials.header(address)
            self._auth_origin = self._origin(base_url)
        self._bounds = bounds

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> Any:
        response, read = super()._http_request(url, headers, data, raise_for_status=False)
        came_from = response.geturl() or url
        if url.startswith("https://") and urlsplit(came_from).scheme == "http":
            raise GitProtocolError("redirects to http://, which is not encrypted")
        if raise_for_status and response.status != 200:
            response.close()
            raise Refused(response.status, came_from)
        return response, self._bounds.guard(read)

    def disconnect(self) -> None:
        """Close the connections, also those that a fault left in the middle of an answer."""
        self.pool_manager.clear()


def _trusting(authority: str, credentials: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        raise SourceNotFound(f"{FIELD}: ca.crt of Secret {credentials.secret} holds no certificate") from error
    return context


def _watched_pools(bounds: Bounds) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's pools with connections that end at the deadline."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            bounds.watch(self.sock)

    class Encrypted(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            bounds.watch(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class _StreamClient(TraditionalGitClient):
    """What git:// and ssh:// have in common: one connection for each exchange."""

    def __init__(self, address: Address, bounds: Bounds) -> None:
        super().__init__(quiet=True)
        self._address = address
        self._bounds = bounds
        self._opened: list[Callable[[], None]] = []

    def disconnect(self) -> None:
        """Close the connections; the base class leaves them open after a fault."""
        while self._opened:
            self._opened.pop()()

    def _socket(self) -> socket.socket:
        connection = socket.create_connection((self._address.host, self._address.port), timeout=_CONNECT_SECONDS)
        connection.settimeout(_READ_SECONDS)
        self._bounds.watch(connection)
        self._opened.append(connection.close)
        return connection

    def _version(self, asked: int | None) -> int:
        self.protocol_version = DEFAULT_GIT_PROTOCOL_VERSION_FETCH if asked is None else asked
        return self.protocol_version


class _TcpClient(_StreamClient):
    def _connect(
        self, cmd: bytes, path: str | bytes, protocol_version: int | None = None
    ) -> tuple[Protocol, Callable[[], bool], IO[bytes] | None]:
        """Connect. Format: https://git-scm.com/docs/gitprotocol-pack#_git_transport."""
        connection = self._socket()
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
        asked = self._version(protocol_version)
        version = b"\0\0version=%d\0" % asked if asked else b""
        where = path if isinstance(path, bytes) else path.encode()
        protocol.send_cmd(b"git-" + cmd, where, b"host=" + self._address.netloc.encode() + version)
        return protocol, lambda: False, None


class _SshClient(_StreamClient):
    def __init__(self, address: Address, bounds: Bounds, credentials: Credentials) -> None:
        super().__init__(address, bounds)
        self._credentials = credentials
        self._session: Session | None = None

    @property
    def complaint(self) -> str:
        """What the server's program wrote to its standard error."""
        return self._session.complaint() if self._session else ""

    def _connect(
        self,
        cmd: bytes,
        path: str | bytes,
        protocol_version: int | None = None,
    ) -> tuple[Protocol, Callable[[], bool], IO[bytes] | None]:
        """Connect. A server that takes no variables does not hear of the version, and speaks its own."""
        session = self._session = Session(self._address, self._credentials, self._socket)
        self._opened.append(session.close)
        where = path.decode() if isinstance(path, bytes) else path
        variables = {"GIT_PROTOCOL": f"version={self._version(protocol_version)}"}
        command = f"git-{cmd.decode()} {shlex.quote(where)}"
        channel = session.run(command, variables, _SSH_STEP_SECONDS, _READ_SECONDS)
        incoming = channel.makefile("rb")

        def write(data: bytes) -> int:
            channel.sendall(data)
            return len(data)

        protocol = Protocol(
            self._bounds.guard(incoming.read), write, session.close, shutdown_write=channel.shutdown_write
        )
        self._opened.append(protocol.close)
        return protocol, lambda: False, None


@contextmanager
def connection(url: str, bounds: Bounds, credentials: Credentials | None = None) -> Iterator[tuple[GitClient, str]]:
    """Give the client for a repository's URL, and the repository's path there; close what it opened.

    The faults of git and the network are raised as `SourceError`, with the URL in the message, without user and
    password.
    """
    address, name = parse(url), shown(url)
    client = _client(address, name, bounds, credentials)
    try:
        yield client, address.path
    except NotGitRepository as error:
        raise SourceNotFound(_not_there(name, address, credentials)) from error
    except Refused as error:
        raise _refusal(error, name, address, credentials) from error
    except (GitProtocolError, OSError, EOFError, urllib3.exceptions.HTTPError, paramiko.SSHException) as error:
        if bounds.over:
            raise bounds.late() from error
        said = client.complaint if isinstance(client, _SshClient) else ""
        if said and ("not found" in said.lower() or "does not appear to be a git" in said.lower()):
            raise SourceNotFound(f"there is no git repository at {name}: {said}") from error
        raise SourceUnreachable(f"{name}: {said or ' '.join(str(error).split()) or type(error).__name__}") from error
    finally:
        client.disconnect()


def _client(
    address: Address, name: str, bounds: Bounds, credentials: Credentials | None
) -> _HttpClient | _TcpClient | _SshClient:
    if address.scheme == "git":
        return _TcpClient(address, bounds)
    if address.scheme == "ssh":
        if credentials is None:
            raise SourceNotFound(f"{name} needs a key: {FIELD} is to name a Secret with ssh-privatekey and known_hosts")
        return _SshClient(address, bounds, credentials)
    return _HttpClient(address, bounds, credentials)


def _refusal(
    error: Refused, name: str, address: Address, credentials: Credentials | None
) -> SourceNotFound | SourceUnreachable:
    elsewhere = urlsplit(error.where)
    if error.status in (401, 403) and elsewhere.hostname and elsewhere.hostname != address.host:
        return SourceNotFound(f"{name} redirects to {elsewhere.hostname}, which asks for credentials and gets none")
    if error.status in (401, 403, 404, 410):
        return SourceNotFound(_not_there(name, address, credentials, error.status))
    return SourceUnreachable(f"{name} answers with HTTP status {error.status}")


def _not_there(name: str, address: Address, credentials: Credentials | None, status: int = 404) -> str:
    if address.scheme not in ("http", "https") or status in (404, 410):
        hint = "" if credentials or address.scheme == "git" else f", or it is private: {FIELD} is to name a Secret"
        return f"there is no git repository at {name}{hint}"
    if credentials is None or not credentials.speaks_http():
        return f"{name} asks for credentials: {FIELD} is to name a Secret with username and password, or token"
    return f"{name} does not take the credentials of Secret {credentials.secret} ({FIELD})"
