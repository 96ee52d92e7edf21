"""An environment as one file: built once, by a Job, and unpacked by every trial at the path where it was built.

A gzipped tar, the same bytes for the same files. What is unpacked is verified while it is read, and nothing of it is
used before the last byte was.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import queue
import shutil
import tarfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from modelyard_environments.running import Failed
from modelyard_environments.uv import CACHE

LEVEL = 1
"""Of gzip: libraries are packed once, but while trials wait."""
MAX_BYTES = 64 << 30
MAX_MEMBERS = 1_000_000
_CHUNK = 1 << 20
_AHEAD = 16
"""How many chunks are inflated ahead of what is written."""
_LEFT_OUT = ("uv_cache.json", ".lock")  # holds times


class Readable(Protocol):
    """What gives bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` of them; none at the end."""


def pack(root: Path, archive: Path) -> None:
    """Write the archive."""
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for relative in sorted(_packed(root, "")):
            path = root / relative
            member = tarfile.TarInfo(relative)
            if path.is_symlink():
                member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
                tar.addfile(member)
                continue
            status = path.stat()
            member.mode = 0o755 if status.st_mode & 0o100 else 0o644
            member.size = status.st_size
            with path.open("rb") as file:
                tar.addfile(member, file)


def _packed(root: Path, below: str) -> Iterator[str]:
    """Yield files and links; directories come into being by them, and no other kind of thing is packed."""
    with os.scandir(root / below) as entries:
        for entry in entries:
            relative = f"{below}/{entry.name}" if below else entry.name
            if relative == CACHE or entry.name in _LEFT_OUT:
                continue
            if entry.is_symlink() or entry.is_file():
                yield relative
            elif entry.is_dir():
                yield from _packed(root, relative)


def unpack(source: Readable, digest: str, target: Path) -> int:
    """Unpack what `source` gives below `target`; return how many files. Raises `Failed`, for other bytes, too.

    What was unpacked before the fault is left: who calls does not go on with it.
    """
    inflating = _Inflating(source)
    problem: str | None = None
    count = 0
    try:
        with tarfile.open(fileobj=cast(BinaryIO, inflating), mode="r|", bufsize=_CHUNK) as tar:
            count = _extract_all(tar, target)
    except Failed as error:
        problem = str(error)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        problem = f"the environment cannot be unpacked: {type(error).__name__}: {error}"
    found = f"sha256:{inflating.digest()}"
    if found != digest:
        raise Failed(f"the environment's archive is {found}, not {digest}")
    if problem is not None:
        raise Failed(problem)
    return count


def _extract_all(tar: tarfile.TarFile, target: Path) -> int:
    size = count = 0
    safe: set[Path] = set()
    for member in tar:
        size += member.size
        count += 1
        if size > MAX_BYTES or count > MAX_MEMBERS:
            raise _bad("is larger than an environment may be")
        _extract(tar, member, target, safe)
    return count


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, safe: set[Path]) -> None:
    """A file, or a link; nothing else, and nowhere else. `safe` holds folders that were made here."""
    name = PurePosixPath(member.name)
    if not name.parts or name.is_absolute() or ".." in name.parts or not (member.isreg() or member.issym()):
        raise _bad(f"holds {member.name!r}, which is no file inside it")
    path = target / name
    if path.parent not in safe:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link that was unpacked before would lead elsewhere.
        if not path.parent.resolve().is_relative_to(target.resolve()):
            raise _bad(f"holds {member.name!r}, whose place is outside")
        safe.add(path.parent)
    if member.issym():
        # A virtual environment's Python is a link to the image's. Nothing is written through a link, and what one names
        # is a matter of the trial's own container.
        path.symlink_to(member.linkname)
        return
    content = tar.extractfile(member)
    assert content is not None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    mode = 0o755 if member.mode & 0o100 else 0o644
    # An archive that names a file twice, or writes over a link, is refused.
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        shutil.copyfileobj(content, file, _CHUNK)


def _bad(problem: str) -> Failed:
    return Failed(f"the environment's archive {problem}")


class _Inflating:
    """Hashes and inflates in a thread of its own, ahead of who reads: both leave Python's lock to others."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._sha256 = hashlib.sha256()
        self._blocks: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
        self._rest = b""
        self._over = False
        self._unread = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or those that are left. Raises what went wrong."""
        while len(self._rest) < size and not self._over:
            block = self._blocks.get()
            if isinstance(block, Exception):
                self._over = True
                raise block
            self._over = not block
            self._rest = self._rest + block if self._rest else block
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def digest(self) -> str:
        """Read to the end without giving what is there; return the SHA-256 of all that came."""
        self._unread.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._blocks.get(timeout=0.05)
        return self._sha256.hexdigest()

    def _work(self) -> None:
        problem: Exception | None = None
        inflating = zlib.decompressobj(wbits=31)
        try:
            while data := self._source.read(_CHUNK):
                self._sha256.update(data)
                while problem is None and data and not self._unread.is_set():
                    try:
                        block = inflating.decompress(data, _CHUNK)
                    except zlib.error as error:
                        problem = error
                        self._blocks.put(error)
                        break
                    data = inflating.unconsumed_tail
                    if block:
                        self._blocks.put(block)
            self._blocks.put(b"")
        except Exception as error:
            self._blocks.put(error)
