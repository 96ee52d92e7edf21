"""The artifact store: a bucket of any S3, by boto3.

Conditional writes (`If-None-Match: *`) are what makes records append-only:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import boto3
import urllib3.exceptions
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from modelyard.artifacts.manifest import FileEntry, Manifest
from modelyard.settings import StoreSettings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

_CHUNK = 1 << 20
_WORKERS = 8
_CONFLICT_TRIES = 5
_DELETED_AT_ONCE = 1000
_MISSING = {"NoSuchKey", "NotFound", "404"}
_PRECONDITION = {"PreconditionFailed", "412"}
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
_DENIED = {"AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_NO_BUCKET = {"NoSuchBucket"}


class ArtifactError(Exception):
    """Something is wrong with the artifact store or with what is in it; the message says what and where."""


class ArtifactMissing(ArtifactError):
    """There is no such object, or nothing below such a directory."""


class AlreadyExists(ArtifactError):
    """The object exists (or is not the one that was read), so the conditional write did nothing."""


class ArtifactStoreUnreachable(ArtifactError):
    """The store does not answer, refuses the credentials, or has no such bucket."""


class _WriteConflict(ArtifactStoreUnreachable):
    """Another conditional write of the same object is under way."""


@dataclass(frozen=True)
class Location:
    """A place in S3. `key` has no slash at its start; a directory's has none at its end either."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Read `s3://<bucket>/<key>`. Raises `ValueError`."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket:
            raise ValueError(f"{uri!r} is not s3://<bucket>/<key>")
        return cls(bucket, key.strip("/"))

    @property
    def uri(self) -> str:
        """The `s3://` URI."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Listed:
    """One object as a listing shows it: key, size in bytes, entity tag, time of the last change (seconds)."""

    key: str
    size: int
    etag: str
    modified: float


@dataclass(frozen=True)
class Stored:
    """An object that was read: its bytes and the entity tag to replace exactly this one by."""

    data: bytes
    etag: str


class ArtifactStore:
    """Reads and writes objects. Keys are relative to the store's bucket and prefix; directories are `s3://` URIs.

    `on_write`, if given, is called with the key before every write. Every method may raise `ArtifactStoreUnreachable`.
    """

    def __init__(
        self,
        settings: StoreSettings,
        *,
        client: S3Client | None = None,
        on_write: Callable[[str], None] | None = None,
    ) -> None:
        self._bucket = settings.bucket
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        self._endpoint = settings.s3_endpoint or "AWS S3"
        self._s3 = client or connect(settings)
        self._on_write = on_write

    def put(self, key: str, data: bytes) -> None:
        """Write the object, whatever was there."""
        self._put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Write the object only if there is none. Raises `AlreadyExists`."""
        self._put(key, data, IfNoneMatch="*")

    def put_file_if_absent(self, key: str, path: Path) -> None:
        """Write the object from a file, without reading it into memory. Raises `AlreadyExists`."""
        with path.open("rb") as file:
            self._put(key, file, IfNoneMatch="*")

    def put_if_unchanged(self, key: str, data: bytes, etag: str) -> None:
        """Write the object only if it is still the one that was read. Raises `AlreadyExists`."""
        self._put(key, data, IfMatch=etag)

    def get(self, key: str) -> Stored:
        """Return the object. Raises `ArtifactMissing`."""
        with self._errors(self._bucket, self._prefix + key):
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + key)
            return Stored(answer["Body"].read(), answer["ETag"])

    def get_many(self, keys: list[str]) -> list[bytes]:
        """Return the objects, in the order of `keys`, read in parallel. Raises `ArtifactMissing`."""
        if len(keys) < 2:
            return [self.get(key).data for key in keys]
        with ThreadPoolExecutor(_WORKERS) as pool:
            return [stored.data for stored in pool.map(self.get, keys)]

    def uri(self, key: str) -> str:
        """Return the object's `s3://` URI."""
        return Location(self._bucket, self._prefix + key).uri

    def put_url(self, key: str, seconds: int) -> str:
        """Return a URL to which anybody may PUT the object for so many seconds, as who holds these credentials."""
        with self._errors(self._bucket, self._prefix + key):
            return self._s3.generate_presigned_url(
                "put_object", Params={"Bucket": self._bucket, "Key": self._prefix + key}, ExpiresIn=seconds
            )

    def get_small(self, key: str, limit: int) -> bytes:
        """Return an object that others have written, or its first `limit` + 1 bytes. Raises `ArtifactMissing`."""
        with self.open(self.uri(key)) as body:
            return body.read(limit + 1)

    def hash(self, key: str) -> tuple[str, int]:
        """Return the SHA-256 (`sha256:<hex>`) of an object and its size. Raises `ArtifactMissing`."""
        digest, size = hashlib.sha256(), 0
        with self.open(self.uri(key)) as body:
            for chunk in body.iter_chunks(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return f"sha256:{digest.hexdigest()}", size

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            with self._errors(self._bucket, self._prefix + key):
                self._s3.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except ArtifactMissing:
            return False
        return True

    def keys(self, prefix: str, *, after: str | None = None) -> list[str]:
        """Return the keys that start with `prefix`, sorted; only those that sort after `after`, if given."""
        start = self._prefix + after if after else None
        found = self._list(self._bucket, self._prefix + prefix, start)
        return [listed.key.removeprefix(self._prefix) for listed in found]

    @contextmanager
    def open(self, uri: str) -> Iterator[StreamingBody]:
        """Open the object at an `s3://` URI for reading. Raises `ArtifactMissing`."""
        place = Location.parse(uri)
        with self._errors(place.bucket, place.key):
            body = self._s3.get_object(Bucket=place.bucket, Key=place.key)["Body"]
            try:
                yield body
            finally:
                body.close()

    def listing(self, uri: str) -> tuple[Listed, ...]:
        """Return the files below the directory at an `s3://` URI, keys relative to it; one LIST per 1,000."""
        place = Location.parse(uri)
        root = f"{place.key}/" if place.key else ""
        found = self._list(place.bucket, root, None)
        # A key that ends in a slash is the folder marker that S3 consoles make.
        return tuple(
            Listed(listed.key.removeprefix(root), listed.size, listed.etag, listed.modified)
            for listed in found
            if not listed.key.endswith("/")
        )

    def head(self, uri: str) -> Listed:
        """Return what is known of the object at an `s3://` URI. Raises `ArtifactMissing`."""
        place = Location.parse(uri)
        with self._errors(place.bucket, place.key):
            found = self._s3.head_object(Bucket=place.bucket, Key=place.key)
        return Listed(place.key, found["ContentLength"], found["ETag"], found["LastModified"].timestamp())

    def each(self, uri: str) -> Iterator[Listed]:
        """Give what `listing` returns, with one page of it in memory at a time."""
        place = Location.parse(uri)
        root = f"{place.key}/" if place.key else ""
        for listed in self._pages(place.bucket, root, None):
            if not listed.key.endswith("/"):
                yield replace(listed, key=listed.key.removeprefix(root))

    def manifest(self, uri: str) -> Manifest:
        """Read every file below the directory and return their hashes.

        Raises `ArtifactMissing` where there is no file.
        """
        return self.manifest_of(uri, self.listing(uri))

    def manifest_of(self, uri: str, listing: tuple[Listed, ...]) -> Manifest:
        """The same for a listing that was made already. Raises `ArtifactMissing` where a file has gone since."""
        if not listing:
            raise ArtifactMissing(f"there is no file below {uri}")
        place = Location.parse(uri)

        def hashed(listed: Listed) -> FileEntry:
            file = Location(place.bucket, f"{place.key}/{listed.key}" if place.key else listed.key)
            digest, size = hashlib.sha256(), 0
            with self.open(file.uri) as body:
                for chunk in body.iter_chunks(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
            return FileEntry(listed.key, digest.hexdigest(), size, listed.etag)

        with ThreadPoolExecutor(min(_WORKERS, len(listing))) as pool:
            return Manifest.of(pool.map(hashed, listing))

    def delete_directory(self, uri: str) -> int:
        """Delete every file below the directory at an `s3://` URI; return how many there were."""
        place = Location.parse(uri)
        if not place.key:
            raise ValueError(f"{uri} is a whole bucket")
        found = self._list(place.bucket, f"{place.key}/", None)
        with self._errors(place.bucket, place.key):
            for start in range(0, len(found), _DELETED_AT_ONCE):
                batch = [{"Key": listed.key} for listed in found[start : start + _DELETED_AT_ONCE]]
                answer = self._s3.delete_objects(Bucket=place.bucket, Delete={"Objects": batch, "Quiet": True})  # type: ignore[typeddict-item]
                if errors := answer.get("Errors"):
                    what = f"s3://{place.bucket}/{errors[0].get('Key')}"
                    raise ArtifactStoreUnreachable(
                        f"{self._endpoint} does not delete {what}: {errors[0].get('Message')}"
                    )
        return len(found)

    def _put(self, key: str, data: bytes | IO[bytes], **condition: Any) -> None:
        if self._on_write:
            self._on_write(key)
        for attempt in range(_CONFLICT_TRIES):
            try:
                with self._errors(self._bucket, self._prefix + key):
                    self._s3.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, **condition)
                    return
            except _WriteConflict:
                # AWS answers 409 to one of two conditional writes at the same moment and asks to send it again.
                if attempt == _CONFLICT_TRIES - 1:
                    raise
                if not isinstance(data, bytes):
                    data.seek(0)

    def _list(self, bucket: str, prefix: str, after: str | None) -> list[Listed]:
        return list(self._pages(bucket, prefix, after))

    def _pages(self, bucket: str, prefix: str, after: str | None) -> Iterator[Listed]:
        arguments: dict[str, Any] = {"StartAfter": after} if after else {}
        with self._errors(bucket, prefix):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **arguments)
            for page in pages:
                for item in page.get("Contents", []):
                    yield Listed(item["Key"], item["Size"], item["ETag"], item["LastModified"].timestamp())

    @contextmanager
    def _errors(self, bucket: str, key: str) -> Iterator[None]:
        where = f"s3://{bucket}/{key}"
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code in _MISSING:
                raise ArtifactMissing(f"{where} does not exist") from error
            if code in _PRECONDITION:
                raise AlreadyExists(f"{where} exists already or has changed") from error
            if code in _NO_BUCKET and bucket != self._bucket:
                raise ArtifactMissing(f"{self._endpoint} has no bucket {bucket!r}") from error
            if code in _NO_BUCKET:
                raise ArtifactStoreUnreachable(f"{self._endpoint} has no bucket {bucket!r}") from error
            if code in _DENIED:
                message = error.response.get("Error", {}).get("Message", code)
                raise ArtifactStoreUnreachable(
                    f"{self._endpoint} refuses access to {where}: {message} ({code})"
                ) from error
            if code in _CONFLICT:
                raise _WriteConflict(f"somebody else is writing {where}") from error
            raise ArtifactStoreUnreachable(f"{self._endpoint} cannot serve {where}: {error}") from error
        except (BotoCoreError, urllib3.exceptions.HTTPError) as error:
            raise ArtifactStoreUnreachable(f"{self._endpoint} (bucket {bucket!r}) does not answer: {error}") from error


@dataclass(frozen=True, repr=False)
class Keys:
    """Credentials of S3 that are not this process's own. Empty ones sign nothing: what is public needs none."""

    access_key: str = ""
    secret_key: str = ""
    session_token: str | None = None


def connect(settings: StoreSettings, keys: Keys | None = None) -> S3Client:
    """Return a boto3 client for the settings' endpoint; without `keys` they come from the usual AWS_* variables."""
    config = Config(
        connect_timeout=5,
        read_timeout=30,
        # One repetition of what the network lost; who calls decides about more.
        retries={"total_max_attempts": 2, "mode": "standard"},
        max_pool_connections=4 * _WORKERS,
        # boto3 signs URLs by the version before otherwise, which not every store takes.
        signature_version="s3v4",
        s3={"addressing_style": "path" if settings.s3_endpoint else "auto"},
        # Stores other than AWS do not all know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.session.Session()
    if keys and keys.access_key:
        session = boto3.session.Session(keys.access_key, keys.secret_key, keys.session_token)
    elif keys:
        config = config.merge(Config(signature_version=UNSIGNED))
    return session.client("s3", endpoint_url=settings.s3_endpoint, region_name=settings.s3_region, config=config)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
