"""What a pod asks for, checked: one object of a store that is allowed, by a URL that can mean nothing else. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from modelyard_serving.fetch.store import StoredObject

BODY_BYTES = 64 * 1024
_URL = re.compile(r"[!-~]{1,32768}")
_ETAG = re.compile(r'"[!#-~]{1,256}"')
_PORTS = {"http": 80, "https": 443}
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(\*\.)?({_LABEL}(\.{_LABEL})*|\[[0-9a-fA-F:]+\])")
_SIGNATURE = {
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
}
"""All that the query may hold: anything else (a version, another resource of the object, headers of the answer) would
make the same path another thing."""


class Refused(Exception):
    """Not to be served; the status says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Endpoints:
    """The stores that may be asked."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises ValueError for what is no `http(s)://[*.]host[:port]`."""
        self._allowed = [_origin(pattern.strip().rstrip("/")) for pattern in patterns if pattern.strip()]
        if not self._allowed:
            raise ValueError("there is none")

    def allow(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL may lead there."""
        for allowed_scheme, allowed_host, allowed_port in self._allowed:
            if (scheme, port) != (allowed_scheme, allowed_port):
                continue
            if host == allowed_host or (allowed_host.startswith("*.") and host.endswith(allowed_host[1:])):
                return True
        return False


@dataclass(frozen=True)
class Asked:
    """One object, and the URL by which to ask for it."""

    url: str
    item: StoredObject
    """Its bucket and key are the URL's host and path."""

    @property
    def key(self) -> str:
        """What the object is kept under: its place in the store and its content's ETag and size; 64 hex digits."""
        identity = [self.item.bucket, self.item.key, self.item.etag, self.item.size]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def parse(body: bytes, endpoints: Endpoints) -> Asked:
    """`{"url", "etag", "size"}`. Raises Refused: 400 for what is malformed, 403 for a place that is not allowed."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(document, dict) or set(document) != {"url", "etag", "size"}:
        raise Refused(400, "the body must have url, etag and size")
    url, etag, size = document["url"], document["etag"], document["size"]
    if not isinstance(etag, str) or not _ETAG.fullmatch(etag):
        raise Refused(400, "etag must be an ETag in its quotes")
    if type(size) is not int or not 0 < size < 2**50:
        raise Refused(400, "size must be a number of bytes")
    if not isinstance(url, str) or not _URL.fullmatch(url):
        raise Refused(400, "url must be a URL")
    origin, path = _place(url, endpoints)
    return Asked(url, StoredObject(origin, path, size, etag))


def _place(url: str, endpoints: Endpoints) -> tuple[str, str]:
    """(scheme, host and port; path)."""
    try:
        split = urlsplit(url)
        scheme, host, port = split.scheme, split.hostname or "", split.port or _PORTS.get(split.scheme, 0)
    except ValueError:
        raise Refused(400, "url must be a URL") from None
    if split.fragment or "@" in split.netloc or "\\" in url:
        raise Refused(400, "url must be a presigned URL")
    if not endpoints.allow(scheme, host, port):
        raise Refused(403, "the URL leads to none of the stores that are allowed")
    path = split.path
    segments = unquote(path).split("/")
    if quote(unquote(path), safe="/") != path or {".", ".."} & set(segments) or len(path) < 2 or path.endswith("/"):
        raise Refused(400, "the URL's path must be an object's, in its normal form")
    names = [name for name, _ in parse_qsl(split.query, keep_blank_values=True)]
    if len(names) != len(set(names)) or not set(names) <= _SIGNATURE or "X-Amz-Signature" not in names:
        raise Refused(400, "the URL's query must be a signature (version 4) and nothing else")
    return f"{scheme}://{host}:{port}", path


def _origin(pattern: str) -> tuple[str, str, int]:
    split = urlsplit(pattern)
    plain = not (split.query or split.fragment or "@" in split.netloc)
    host = split.netloc.removesuffix(f":{split.port}") if split.port else split.netloc.removesuffix(":")
    if split.scheme not in _PORTS or not plain or not _HOST.fullmatch(host):
        raise ValueError(f"{pattern!r} is no http(s)://host[:port]")
    return split.scheme, host.strip("[]").lower(), split.port or _PORTS[split.scheme]
