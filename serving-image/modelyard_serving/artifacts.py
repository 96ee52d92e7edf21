"""Brings a model directory from S3 to the local disk, and lets nothing through that has another digest."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from modelyard_serving.config import Source
from modelyard_serving.digest import digest, hash_directory
from modelyard_serving.errors import Reason, StartupError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PARALLEL_DOWNLOADS = 8
ATTEMPTS = 3
CHUNK_BYTES = 1024 * 1024

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


@dataclass(frozen=True)
class Fetched:
    """A verified model directory."""

    path: Path
    files: int
    bytes: int
    reused: bool
    """The directory was there already, from before the container restarted, and has the right digest."""


def s3_client(endpoint: str | None = None) -> S3Client:
    """A client with bounded waiting; credentials, region and (by default) the endpoint as boto3 finds them."""
    config = BotoConfig(
        connect_timeout=5,
        read_timeout=60,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=PARALLEL_DOWNLOADS,
        user_agent_extra="modelyard-serving",
    )
    return boto3.Session().client("s3", endpoint_url=endpoint, config=config)


def fetch(client: S3Client, source: Source, expected: str, directory: Path) -> Fetched:
    """Download `source` to `<directory>/<digest>` and verify it, or verify what lies there already.

    Raises StartupError: ArtifactNotFound, ArtifactAccessDenied, ArtifactStoreUnreachable, DigestMismatch,
    ModelInvalid (a key that is no safe path), LoadFailed (the disk).
    """
    target = directory / expected.removeprefix("sha256:")
    try:
        if target.is_dir():
            files = hash_directory(target)
            if digest(files) == expected:
                return Fetched(target, len(files), sum((target / path).stat().st_size for path in files), reused=True)
            shutil.rmtree(target)
        # The final name appears only on a directory that has been verified.
        incoming = target.with_suffix(".incoming")
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        with _store_errors(source):
            fetched = _download(client, source, incoming)
        if (actual := digest(fetched)) != expected:
            raise StartupError(Reason.DIGEST_MISMATCH, f"{source} has digest {actual}, but {expected} was registered")
        size = sum((incoming / path).stat().st_size for path in fetched)
        incoming.rename(target)
    except OSError as error:
        raise StartupError(Reason.LOAD_FAILED, f"cannot write the model to {directory}: {error}") from error
    return Fetched(target, len(fetched), size, reused=False)


def _download(client: S3Client, source: Source, directory: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file, hashed as it came off the wire."""
    paths = list(_list(client, source))
    if not paths:
        raise StartupError(Reason.ARTIFACT_NOT_FOUND, f"nothing is stored below {source}/")
    for path in paths:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool:
        hashes = pool.map(lambda path: _download_file(client, source, path, directory / path), paths)
        return dict(zip(paths, hashes, strict=True))


def _list(client: S3Client, source: Source) -> Iterator[str]:
    """The relative paths below the source; keys that only mark a directory are left out."""
    root = source.prefix + "/"
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=source.bucket, Prefix=root):
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith("/"):
                yield safe_path(entry["Key"].removeprefix(root))


def safe_path(path: str) -> str:
    """`path` itself, if it stays inside the directory and can stand in a manifest; else StartupError(ModelInvalid)."""
    if any(part in ("", ".", "..") for part in path.split("/")) or any(char in path for char in "\\\n\r\0"):
        raise StartupError(Reason.MODEL_INVALID, f"the model holds a file with the unsafe name {path!r}")
    return path


def _download_file(client: S3Client, source: Source, path: str, target: Path) -> str:
    """The SHA-256 of the file written; a stream that breaks off starts again, at most `ATTEMPTS` times in all."""
    for attempt in range(1, ATTEMPTS + 1):
        sha = hashlib.sha256()
        try:
            body = client.get_object(Bucket=source.bucket, Key=f"{source.prefix}/{path}")["Body"]
            with target.open("wb") as file:
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    sha.update(chunk)
                    file.write(chunk)
            return sha.hexdigest()
        except (HTTPClientError, HTTPError):
            # botocore retries requests by itself, but not a response that breaks off in the middle.
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


@contextmanager
def _store_errors(source: Source) -> Iterator[None]:
    """What boto3 raises, as the reason an operator can act on."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        reason = Reason.ARTIFACT_STORE_UNREACHABLE
        if code in _NOT_FOUND:
            reason = Reason.ARTIFACT_NOT_FOUND
        elif code in _DENIED:
            reason = Reason.ARTIFACT_ACCESS_DENIED
        raise StartupError(reason, f"{source}: {error}") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StartupError(Reason.ARTIFACT_ACCESS_DENIED, f"{source}: {error}") from error
    except (BotoCoreError, HTTPError) as error:
        # botocore's own words leave out what the connection failed of: a name, a refusal, a timeout.
        cause = getattr(error, "kwargs", {}).get("error")
        why = f"{error} ({cause})" if cause else f"{error}"
        raise StartupError(Reason.ARTIFACT_STORE_UNREACHABLE, f"{source}: {why}") from error
