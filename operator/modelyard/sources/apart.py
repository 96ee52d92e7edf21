"""Asks git servers in a process of its own, which may have so much memory and so much time.

What a repository holds is somebody else's, and objects are unpacked in memory: a few kilobytes can grow to gigabytes.
Here that ends a process which has nothing else to do. `python -m modelyard.sources.apart` reads one request from its
standard input, credentials with it, so that they are in no argument and no variable, and writes one answer.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from modelyard.api.project_files import Directory, GitFiles
from modelyard.sources.credentials import Credentials
from modelyard.sources.errors import SourceError, SourceNotFound, SourceUnreachable
from modelyard.sources.git import READ_SECONDS, RESOLVE_SECONDS, GitSource, Resolved

Json = dict[str, Any]

MEMORY = 192 << 20
"""The most bytes of data that the process may have."""

AT_ONCE = 2
_SPARE_SECONDS = 15.0
_NOT_FOR_IT = ("AWS_", "MODELYARD_")
_ERRORS: Mapping[str, type[SourceError]] = {"unreachable": SourceUnreachable, "not found": SourceNotFound}

log = logging.getLogger(__name__)


class SeparateGit:
    """Does what `GitSource` does, in a process of its own; two at a time."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._free = threading.BoundedSemaphore(AT_ONCE)

    def find(self, url: str, revision: str, credentials: Credentials | None = None) -> Resolved:
        """Return what a revision names now. Raises `SourceError`."""
        # Where a ref has to be followed, or a commit completed, that is read, too.
        answer = self._ask({"find": [url, revision]}, credentials, RESOLVE_SECONDS + READ_SECONDS)
        return Resolved(**answer)

    def directory(self, files: GitFiles, credentials: Credentials | None = None) -> Directory:
        """Return what the project's directory holds, with its submodules. Raises `SourceError`."""
        answer = self._ask({"directory": asdict(files)}, credentials, READ_SECONDS)
        return Directory(frozenset(answer["paths"]), answer["texts"])

    def _ask(self, request: Json, credentials: Credentials | None, seconds: float) -> Json:
        given = {"memory": self._memory, "credentials": _to_json(credentials), **request}
        command = [sys.executable, "-m", "modelyard.sources.apart"]
        with self._free:
            try:
                done = subprocess.run(  # noqa: S603 - our own module
                    command,
                    env={name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_IT)},
                    input=json.dumps(given).encode(),
                    capture_output=True,
                    timeout=seconds + _SPARE_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise SourceUnreachable(f"the git server did not finish within {seconds:.0f} s") from None
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            said = done.stderr[-2000:].decode(errors="replace")
            log.warning("reading a repository ended with code %d: %s", done.returncode, said)
            if done.returncode < 0 or "MemoryError" in said:
                raise SourceNotFound(_too_large(self._memory)) from None
            last = said.strip().rpartition("\n")[2]
            raise SourceUnreachable(f"reading the repository ended with code {done.returncode}: {last}") from None
        if error := answer.get("error"):
            raise _ERRORS[error](answer["message"])
        found: Json = answer["found"]
        return found


def answer(request: Json) -> Json:
    """Return what was asked for, or the error."""
    credentials = _from_json(request["credentials"])
    try:
        if "find" in request:
            url, revision = request["find"]
            found = asdict(GitSource().find(url, revision, credentials))
        else:
            directory = GitSource().directory(GitFiles(**request["directory"]), credentials)
            found = {"paths": sorted(directory.paths), "texts": dict(directory.texts)}
    except SourceUnreachable as error:
        return {"error": "unreachable", "message": str(error)}
    except SourceError as error:
        return {"error": "not found", "message": str(error)}
    except MemoryError:
        return {"error": "not found", "message": _too_large(request["memory"])}
    return {"found": found}


def main() -> int:
    """Answer one request."""
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_DATA, (request["memory"], request["memory"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    json.dump(answer(request), sys.stdout)
    sys.stdout.flush()
    # Threads of a connection that hangs are not waited for.
    os._exit(0)


def _too_large(memory: int) -> str:
    return (
        f"the repository cannot be looked at with {memory >> 20} MiB of memory: it has very large files, and its server"
        " does not leave them out. Put the data elsewhere, or the project into an image"
    )


def _to_json(credentials: Credentials | None) -> Json | None:
    if credentials is None:
        return None
    values = {name: base64.b64encode(value).decode() for name, value in credentials.values.items()}
    return {"secret": credentials.secret, "values": values}


def _from_json(given: Json | None) -> Credentials | None:
    if given is None:
        return None
    return Credentials(given["secret"], {name: base64.b64decode(value) for name, value in given["values"].items()})


if __name__ == "__main__":
    sys.exit(main())
