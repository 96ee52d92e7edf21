"""The artifact store, read only: what lies below a prefix, and the bytes of one object."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlsplit
from xml.etree import ElementTree

from modelyard_serving.config import Source
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.fetch.cache import NodeCache
from modelyard_serving.fetch.http import Client, NetworkError, Stream
from modelyard_serving.fetch.ranges import Span, parse_content_range
from modelyard_serving.fetch.sign import Signer, signer

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
LIST_KEYS = 1000
ATTEMPTS = 3
"""How often a request is made that the store does not answer, or answers with a fault of its own."""

_NOT_FOUND = {"NoSuchBucket", "NoSuchKey", "404"}
_DENIED = {
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "401",
    "403",
}
_PASSING = {429, 500, 502, 503, 504}
_FIELD = re.compile(rb"<(Code|Message)>([^<]*)</")


class StoreError(Exception):
    """The store answered, but not with what was asked for."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"the store answered {code} ({status}){': ' if message else ''}{message}")
        self.code = code
        self.status = status


class ServerFault(NetworkError):
    """The store answered with a fault of its own: trying again may help."""

    def __init__(self, cause: StoreError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Replaced(Exception):
    """An object is no longer the one that was listed."""


@dataclass(frozen=True)
class StoredObject:
    """One object, as it was listed."""

    bucket: str
    key: str
    size: int
    etag: str | None
    """With its quotes, as the store gives it; None where the store has none: then nothing tells versions apart."""


class Store:
    """Reads with one set of credentials; safe to use from several threads."""

    def __init__(self, signer: Signer, cache: NodeCache | None = None) -> None:
        self._signer = signer
        self._signing = threading.Lock()
        self._http = Client(CONNECT_SECONDS, READ_SECONDS)
        self.cache = cache

    def list(self, source: Source) -> list[StoredObject]:
        """All objects whose key begins with the source's prefix. Raises StoreError, NetworkError."""
        found: list[StoredObject] = []
        parameters = {"prefix": source.prefix, "max-keys": str(LIST_KEYS)}
        while True:
            page = self._page(source.bucket, parameters)
            for entry in page.iterfind("{*}Contents"):
                key = unquote_plus(entry.findtext("{*}Key", ""))
                etag = (entry.findtext("{*}ETag") or "").strip()
                found.append(StoredObject(source.bucket, key, int(entry.findtext("{*}Size", "0")), _quoted(etag)))
            following = page.findtext("{*}NextContinuationToken")
            if not following:
                return found
            parameters["continuation-token"] = following

    def url(self, item: StoredObject) -> str:
        """A presigned URL of the object."""
        with self._signing:
            return self._signer.get(item.bucket, item.key)

    @contextmanager
    def open(self, item: StoredObject, span: Span) -> Iterator[Stream]:
        """The bytes of `span`, and no others. Raises StoreError, NetworkError, Replaced."""
        with open_span(self._http, self.url(item), item, span) as stream:
            yield stream

    def close(self) -> None:
        """Close the connections that are kept; others are made when they are needed."""
        self._http.close()
        if self.cache:
            self.cache.close()

    def _page(self, bucket: str, parameters: Mapping[str, str]) -> ElementTree.Element:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask_page(bucket, parameters)
            except NetworkError:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(backoff(attempt))
        raise AssertionError("unreachable")

    def _ask_page(self, bucket: str, parameters: Mapping[str, str]) -> ElementTree.Element:
        for _ in range(2):
            with self._signing:
                url = self._signer.list(bucket, parameters)
            with self._http.open(url) as stream:
                region = stream.header("x-amz-bucket-region")
                if stream.status != 200 and region and region != getattr(self._signer, "region", None):
                    # As botocore does: the store knows best in which region a bucket is.
                    self._signer = self._signer.in_region(region)
                    continue
                raise_for_status(stream)
                try:
                    return ElementTree.fromstring(stream.all())  # noqa: S314 - the store is who it is
                except ElementTree.ParseError as error:
                    raise NetworkError(f"{urlsplit(url).netloc} gave a list that is no XML: {error}") from error
        raise StoreError("PermanentRedirect", f"the bucket {bucket} is said to be in {region}", 301)


@contextmanager
def open_span(http: Client, url: str, item: StoredObject, span: Span) -> Iterator[Stream]:
    """The bytes of `span` from a presigned URL. Raises StoreError, NetworkError, Replaced."""
    headers = {"Range": span.header}
    if item.etag:
        headers["If-Match"] = item.etag
    with http.open(url, headers) as stream:
        if stream.status == 412:
            raise Replaced(item.key)
        raise_for_status(stream)
        told = parse_content_range(stream.header("Content-Range")) if stream.status == 206 else None
        sent, size = told or (Span(0, stream.length or 0), stream.length)
        if (item.etag and _quoted(stream.header("ETag") or "") not in (None, item.etag)) or size not in (
            None,
            item.size,
        ):
            raise Replaced(item.key)
        if stream.status == 200:
            # A store that knows no ranges sends everything: what comes before is passed over.
            _skip(stream, span.start)
        elif sent != span:
            raise NetworkError(f"{urlsplit(url).netloc} sent the bytes {sent} when asked for {span}")
        yield stream


def raise_for_status(stream: Stream) -> None:
    """Nothing for a success. Raises StoreError, ServerFault."""
    if stream.status in (200, 206):
        return
    fields = {name: value.decode(errors="replace") for name, value in _FIELD.findall(stream.text())}
    error = StoreError(fields.get(b"Code") or str(stream.status), fields.get(b"Message", ""), stream.status)
    raise ServerFault(error) if stream.status in _PASSING else error


@contextmanager
def store_errors(source: Source) -> Iterator[None]:
    """What reading the store raises, as the reason an operator can act on."""
    try:
        yield
    except StoreError as error:
        reason = Reason.ARTIFACT_STORE_UNREACHABLE
        if {error.code, str(error.status)} & _NOT_FOUND:
            reason = Reason.ARTIFACT_NOT_FOUND
        elif {error.code, str(error.status)} & _DENIED:
            reason = Reason.ARTIFACT_ACCESS_DENIED
        raise StartupError(reason, f"{source}: {error}") from error
    except NetworkError as error:
        raise StartupError(Reason.ARTIFACT_STORE_UNREACHABLE, f"{source}: {error}") from error
    except Replaced as error:
        raise StartupError(
            Reason.DIGEST_MISMATCH, f"{source}: {error} was replaced while it was downloaded, again and again"
        ) from error
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):
            raise
        denied = type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError")
        reason = Reason.ARTIFACT_ACCESS_DENIED if denied else Reason.ARTIFACT_STORE_UNREACHABLE
        raise StartupError(reason, f"{source}: {error}") from error


def backoff(attempt: int) -> float:
    """Seconds to wait after a failed attempt, the first of which is 1."""
    return float(0.1 * 4 ** (attempt - 1))


def connect(endpoint: str | None = None, node_cache: str | None = None, env: Mapping[str, str] = os.environ) -> Store:
    """A store with bounded waiting; credentials, region and (by default) the endpoint as boto3 finds them.

    `node_cache` is `http://host:port` of the node's cache; without it MODELYARD_NODE_CACHE says where it is.
    """
    place = env.get("MODELYARD_NODE_CACHE") if node_cache is None else node_cache
    return Store(signer(endpoint, env), NodeCache(place) if place else None)


def _skip(stream: Stream, count: int) -> None:
    with memoryview(bytearray(min(count, 256 * 1024))) as view:
        while count and (read := stream.readinto(view[:count])):
            count -= read


def _quoted(etag: str) -> str | None:
    """An ETag with its quotes, which some stores leave out in lists; None for none, or a weak one."""
    if not etag or etag.startswith("W/"):
        return None
    return etag if etag.startswith('"') else f'"{etag}"'
