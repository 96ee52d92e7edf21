"""Projects in S3: all files below a prefix, or one archive."""

from __future__ import annotations

import hashlib
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelyard.artifacts.store import ArtifactStore, Keys, Location, connect
from modelyard.settings import StoreSettings
from modelyard.sources.archives import Readable, only_directory, unpack_tar, unpack_zip, write
from modelyard.sources.errors import SourceNotFound, SourceUnreachable
from modelyard.sources.keep import LIMITS
from modelyard.sources.limits import Limits, Meter, safe_path

SECONDS = 120.0
_TAR = (".tar.gz", ".tgz")
_ZIP = (".zip",)
_CHUNK = 1 << 20


class S3Project:
    """A directory or an archive. What is done to read it is bounded, and raises `SourceError` or `ArtifactError`."""

    def __init__(self, store: ArtifactStore, uri: str, limits: Limits = LIMITS, seconds: float = SECONDS) -> None:
        self._store = store
        self._uri = uri.rstrip("/")
        self._limits = limits
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    @property
    def is_archive(self) -> bool:
        """Whether the URI names one file that holds the project."""
        return self._uri.lower().endswith((*_TAR, *_ZIP))

    def fingerprint(self) -> str:
        """Return what is another when anything of it was written anew; found without reading the files."""
        total, meter = hashlib.sha256(), Meter(self._limits, self._uri)
        listed = [self._store.head(self._uri)] if self.is_archive else self._store.each(self._uri)
        for item in listed:
            self._in_time()
            meter.add(item.key, item.size)
            total.update(f"{item.key}\0{item.size}\0{item.etag}\0{item.modified}\n".encode())
        if not meter.count:
            raise SourceNotFound(f"spec.project.s3.uri: there is no file below {self._uri}")
        return total.hexdigest()

    def bring(self, root: Path) -> Path:
        """Write its files below an empty directory; return the one that is the project's."""
        if not self.is_archive:
            self._bring_directory(root)
            return root
        meter = Meter(self._limits, self._uri)
        with self._store.open(self._uri) as body:
            if self._uri.lower().endswith(_TAR):
                unpack_tar(self._timed(body), root, meter, self._uri)
            else:
                # A zip file's list of contents is at its end.
                packed = root / "archive.zip"
                write(root, packed.name, self._timed(body).read, Meter(self._limits, self._uri))
                inside = root / "files"
                inside.mkdir()
                unpack_zip(packed, inside, meter, self._uri)
                root = inside
        return only_directory(root)

    def _bring_directory(self, root: Path) -> None:
        meter, place = Meter(self._limits, self._uri), Location.parse(self._uri)
        for item in self._store.each(self._uri):
            path = safe_path(item.key, self._uri)
            meter.add(path)
            key = f"{place.key}/{item.key}" if place.key else item.key
            with self._store.open(Location(place.bucket, key).uri) as body:
                write(root, path, self._timed(body).read, meter)

    def _in_time(self) -> None:
        if time.monotonic() > self._ends:
            raise SourceUnreachable(f"{self._uri} was not read within {self._seconds:.0f} s")

    def _timed(self, body: Readable) -> Readable:
        return _Timed(body, self._in_time)


class _Timed:
    """Reads until the time is over."""

    def __init__(self, body: Readable, check: Callable[[], None]) -> None:
        self._body = body
        self._check = check

    def read(self, size: int = _CHUNK) -> bytes:
        self._check()
        return self._body.read(size)


def reading(settings: StoreSettings, uri: str, endpoint: str | None, region: str | None, keys: Keys) -> ArtifactStore:
    """Return what reads a bucket that need not be the installation's own."""
    theirs = StoreSettings(
        artifact_store=f"s3://{Location.parse(uri).bucket}",
        s3_endpoint=endpoint or settings.s3_endpoint,
        s3_region=region or settings.s3_region,
        git_managers=(),
    )
    return ArtifactStore(theirs, client=connect(theirs, keys))


def keys_of(secret: str, body: Mapping[str, Any]) -> Keys:
    """Return the credentials in a Secret as the API server shows it. Raises `SourceNotFound`."""
    data = body.get("data") or {}
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    values = [b64decode(data.get(name, "")).decode(errors="replace").strip() for name in names]
    if not values[0] or not values[1]:
        raise SourceNotFound(f"spec.project.s3.secretRef: Secret {secret} lacks {names[0]} or {names[1]}")
    return Keys(values[0], values[1], values[2] or None)


def artifact_directory(uri: str, root: str) -> str | None:
    """Return the s3:// directory of a run's artifacts; None where the installation does not keep them itself.

    `root` is what `mlflow-artifacts:/` stands for.
    """
    parts = urlsplit(uri)
    path = [part for part in parts.path.split("/") if part]
    if parts.scheme == "mlflow-artifacts" and ".." not in path:
        return "/".join((root, *path))
    return uri.rstrip("/") if uri.startswith(f"{root}/") and ".." not in path else None
