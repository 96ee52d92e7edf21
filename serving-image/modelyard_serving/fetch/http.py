"""HTTP for downloads, on the standard library: its import is part of every start, and boto3's takes half a second."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

USER_AGENT = "modelyard-serving"
ERROR_BYTES = 64 * 1024
"""How much of an error's body is read, for its code and message."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class NetworkError(Exception):
    """No answer, or one that breaks off: trying again may help."""


class Stream:
    """An answer whose body is read piece by piece."""

    def __init__(self, response: http.client.HTTPResponse, origin: str) -> None:
        self._response = response
        self._origin = origin
        self.status = response.status

    def header(self, name: str) -> str | None:
        """A header's value."""
        return self._response.headers.get(name)

    @property
    def length(self) -> int | None:
        """What is left of the body; None if the server did not say how long it is."""
        return self._response.length

    def readinto(self, buffer: memoryview) -> int:
        """Fill as much of `buffer` as has arrived; 0 at the end. Raises NetworkError, also at an end too early."""
        try:
            count = self._response.readinto(buffer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NetworkError(f"{self._origin} broke off: {error or type(error).__name__}") from error
        if count == 0 and self._response.length:
            raise NetworkError(f"{self._origin} broke off: {self._response.length} bytes are missing")
        return count

    def text(self) -> bytes:
        """The beginning of the body, for an error's message."""
        buffer = bytearray(ERROR_BYTES)
        filled = 0
        with memoryview(buffer) as view:
            while filled < len(buffer) and (count := self.readinto(view[filled:])):
                filled += count
        return bytes(buffer[:filled])

    def all(self) -> bytes:
        """The whole body. Raises NetworkError."""
        pieces = []
        with memoryview(bytearray(ERROR_BYTES)) as view:
            while count := self.readinto(view):
                pieces.append(bytes(view[:count]))
        return b"".join(pieces)


class Client:
    """Connections that are kept and used again; safe to use from several threads."""

    def __init__(self, connect_seconds: float, read_seconds: float) -> None:
        self.connect_seconds = connect_seconds
        self.read_seconds = read_seconds
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def open(
        self, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", body: bytes | None = None
    ) -> Iterator[Stream]:
        """The answer to one request, whatever its status; redirects are not followed. Raises NetworkError."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        connection, response = self._send(parts, origin, method, dict(headers or {}), body)
        kept = False
        try:
            yield Stream(response, origin)
            # A connection on which something is left to read cannot be used again.
            kept = response.isclosed() and connection.sock is not None
        finally:
            if kept:
                with self._lock:
                    self._idle.setdefault(origin, []).append(connection)
            else:
                response.close()
                connection.close()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def _send(
        self, parts: SplitResult, origin: str, method: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        with self._lock:
            idle = self._idle.get(origin)
            reused = idle.pop() if idle else None
        if reused is not None:
            try:
                return reused, self._exchange(reused, parts, method, headers, body)
            except (OSError, http.client.HTTPException):
                # Most likely the server closed it while it was idle.
                reused.close()
        connection = _connection(parts, self.connect_seconds)
        try:
            connection.connect()
            return connection, self._exchange(connection, parts, method, headers, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise NetworkError(f"cannot reach {origin}: {error or type(error).__name__}") from error

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        parts: SplitResult,
        method: str,
        headers: dict[str, str],
        body: bytes | None,
    ) -> http.client.HTTPResponse:
        connection.sock.settimeout(self.read_seconds)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if (proxied := getattr(connection, "absolute", None)) is not None:
            path = f"{parts.scheme}://{parts.netloc}{path}"
            headers = {**headers, **proxied}
        connection.request(method, path, body, {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers})
        return connection.getresponse()


def _connection(parts: SplitResult, seconds: float) -> http.client.HTTPConnection:
    """A connection that is still to be made, through a proxy where the environment names one."""
    host = parts.hostname or ""
    proxy = _proxy(parts.scheme, host)
    if proxy is None:
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=_tls())
        return http.client.HTTPConnection(host, parts.port, timeout=seconds)
    address = (proxy.hostname or "", proxy.port or 80)
    if parts.scheme == "https":
        tunnel = http.client.HTTPSConnection(*address, timeout=seconds, context=_tls())
        tunnel.set_tunnel(host, parts.port, _authorization(proxy))
        return tunnel
    plain = http.client.HTTPConnection(*address, timeout=seconds)
    plain.absolute = _authorization(proxy)  # type: ignore[attr-defined]
    return plain


def _proxy(scheme: str, host: str) -> SplitResult | None:
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - heavy, seldom needed

    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return None if proxy is None or proxy_bypass(host) else urlsplit(proxy)


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(user.encode()).decode()}


@cache
def _tls() -> ssl.SSLContext:
    """Trust in what botocore would trust, and in what the system (SSL_CERT_FILE) trusts."""
    context = ssl.create_default_context()
    bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or _botocores_bundle()
    if bundle:
        context.load_verify_locations(bundle)
    return context


def _botocores_bundle() -> str | None:
    spec = importlib.util.find_spec("botocore")
    path = Path(spec.origin).with_name("cacert.pem") if spec and spec.origin else None
    return str(path) if path and path.is_file() else None
