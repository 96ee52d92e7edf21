"""Fetches what `path` parameters name, in a trial's init container: as MLflow does before it runs an entry point.

Credentials for S3 are the container's own AWS variables, and the tracking server is the one of MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import httpx

from modelyard.projects.command import Download, downloaded_name
from modelyard.sources.errors import SourceError, SourceNotFound, SourceUnreachable
from modelyard.sources.places import Found, Places, refused, shown

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_PAUSES = (1.0, 4.0)
"""Seconds before an unreachable server is asked again. A trial's Job is tried once."""

_REDIRECTS = 5
_CHUNK = 1 << 20


def fetch(
    downloads: Sequence[Download],
    paths: Sequence[str] = (),
    root: Path = Path("/"),
    environment: Mapping[str, str] | None = None,
    pauses: Sequence[float] = _PAUSES,
) -> int:
    """Put each download below its directory; return how many files. Each of `paths` has to be there.

    All of them are absolute paths of the pod; `root` is what they are below, elsewhere than in a pod. `environment` is
    `os.environ` where it is not given. Raises `SourceError`, which names the parameter.
    """
    for path in paths:
        if not (root / path.lstrip("/")).exists():
            raise SourceNotFound(f"Got value {path} for a path parameter, but no such file or directory was found.")
    if not downloads:
        return 0
    headers = {"Accept-Encoding": "identity"}
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, max_redirects=_REDIRECTS, headers=headers) as http:
        places = Places(http, os.environ if environment is None else environment)
        return sum(_persistently(http, places, download, root, pauses) for download in downloads)


def _persistently(http: httpx.Client, places: Places, download: Download, root: Path, pauses: Sequence[float]) -> int:
    """Fetch one, again where the server could not be reached; that is told on standard error."""
    directory = root / download.directory.lstrip("/")
    left = list(pauses)
    while True:
        # What another attempt left, as when the container was started again.
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        try:
            return _fetch(http, places, download, directory / downloaded_name(download.uri))
        except SourceUnreachable as error:
            message = f"parameter {download.name}: {error}"
            if not left:
                raise SourceUnreachable(message) from error
        except SourceError as error:
            raise SourceNotFound(f"parameter {download.name}: {error}") from error
        pause = left.pop(0)
        print(f"{message}; again in {pause:g} s", file=sys.stderr, flush=True)
        time.sleep(pause)


def _fetch(http: httpx.Client, places: Places, download: Download, target: Path) -> int:
    count = 0
    try:
        for found in places.find(download.uri):
            _write(http, download.uri, found, _inside(target, found, download.uri))
            count += 1
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise SourceUnreachable(f"{shown(download.uri)}: {reason}") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise SourceNotFound(f"{shown(download.uri)}: {error}") from error
    if not count:
        raise SourceNotFound(f"{shown(download.uri)} holds no files")
    return count


def _inside(target: Path, found: Found, uri: str) -> Path:
    parts = PurePosixPath(found.path).parts
    if found.path.startswith("/") or ".." in parts or "\0" in found.path:
        raise SourceNotFound(f"{shown(uri)} has a file named {found.path[:200]!r}, which is not taken")
    return target.joinpath(*parts)


def _write(http: httpx.Client, uri: str, found: Found, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with http.stream("GET", found.url) as response:
        if not response.is_success:
            raise refused(f"{uri.rstrip('/')}/{found.path}" if found.path else uri, response)
        with path.open("xb") as file:
            # A web server may compress what it sends; what is stored compressed is to stay so.
            web = found.url == uri
            for chunk in response.iter_bytes(_CHUNK) if web else response.iter_raw(_CHUNK):
                file.write(chunk)
