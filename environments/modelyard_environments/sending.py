"""Sends files to URLs that somebody has signed: one PUT each, streamed."""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT = 60.0
"""Seconds for a connection, and for the store to go on."""
ATTEMPTS = 3
PAUSE = 2.0
"""Seconds before another attempt, where the store did not answer or was at fault itself."""


class UploadFailed(Exception):
    """The store did not take an object; the message does not hold the URL's signature."""


@dataclass(frozen=True)
class Uploaded:
    """What was sent."""

    sha256: str
    bytes: int


def measured(path: Path) -> Uploaded:
    """The hash and the size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Uploaded(digest, path.stat().st_size)


def put(url: str, path: Path, sleep: Callable[[float], None] = time.sleep) -> Uploaded:
    """Send a file. Raises UploadFailed."""
    sent = measured(path)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _put(url, path, sent.bytes)
            return sent
        except _Passing as error:  # noqa: PERF203 - a few attempts
            if attempt == ATTEMPTS:
                raise UploadFailed(f"{path.name}: {error}") from error
            sleep(PAUSE)
    raise AssertionError("unreachable")


class _Passing(Exception):
    """Another attempt may do."""


def _put(url: str, path: Path, size: int) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = HTTPConnection(host, parts.port, timeout=TIMEOUT)
    if parts.scheme == "https":
        connection = HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=ssl.create_default_context())
    try:
        with path.open("rb") as file:
            headers = {"Content-Length": str(size), "Connection": "close"}
            connection.request("PUT", f"{parts.path}?{parts.query}", body=file, headers=headers)
        with connection.getresponse() as response:
            words = response.read(1000).decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        raise _Passing(f"{parts.netloc} does not take it: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if response.status >= 500:
        raise _Passing(f"{parts.netloc} answers {response.status}: {' '.join(words.split())}")
    if not 200 <= response.status < 300:
        raise UploadFailed(f"{path.name}: {parts.netloc} answers {response.status}: {' '.join(words.split())}")
