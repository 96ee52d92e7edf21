"""Objects in a directory, within a bound. Several processes may use one directory.

`objects/<key>` holds an object's bytes and, behind them, their SHA-256 in hex: one rename makes both appear.
`incoming/<key>.<random>` is an object on its way; it has its full size from the beginning, so it counts at once.
Who reads an object holds a shared flock on it, who writes one an exclusive one; only what can be locked exclusively is
evicted. `lock` is held while room is made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from modelyard_serving.fetch.incoming import Incoming
from modelyard_serving.nodecache.metrics import Metrics

HEX_BYTES = 64
VERIFIED_SECONDS = 60.0
"""For so long an object that has been hashed, and has not been written to, need not be hashed again."""


class Usage(NamedTuple):
    """What lies in the directory."""

    objects: int
    bytes: int
    """With what is on its way."""


class Entries:
    """The directory; safe to use from several threads."""

    def __init__(self, directory: Path, limit: int, metrics: Metrics) -> None:
        """Raises OSError. What a process that ended left half done is removed."""
        self.limit = limit
        self._metrics = metrics
        self._objects = directory / "objects"
        self._incoming = directory / "incoming"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)
        self._lock = directory / "lock"
        self._verified: dict[str, tuple[tuple[int, int, int], float]] = {}
        with self._locked():
            for path in self._incoming.iterdir():
                _unlink_unless_used(path)

    @contextmanager
    def open(self, key: str, size: int) -> Iterator[BinaryIO | None]:
        """The object, which stays there while it is read, or None. One whose bytes are not its hash's is dropped."""
        file = self._open(key, size)
        try:
            yield file
        finally:
            if file:
                file.close()

    def has(self, key: str) -> bool:
        """Whether there is an object of this key, sound or not."""
        return (self._objects / key).exists()

    def reserve(self, key: str, size: int, etag: str) -> tuple[Incoming, Path] | None:
        """Room for an object, made by removing others, the least recently used first; None if there is none.

        Raises OSError. The caller closes what it gets, and unlinks it unless it is published.
        """
        needed = size + HEX_BYTES
        if needed > self.limit:
            return None
        with self._locked():
            if not self._make_room(needed):
                return None
            path = self._incoming / f"{key}.{secrets.token_hex(8)}"
            incoming = Incoming(path, size, etag)
            fcntl.flock(incoming.fileno(), fcntl.LOCK_EX)
            return incoming, path

    def publish(self, key: str, incoming: Incoming, path: Path) -> None:
        """Let others find the complete object; it is not evicted before `incoming` is closed. Raises OSError."""
        incoming.append(incoming.sha256().encode())
        # The kernel's own clock for this is too coarse to tell what came after what.
        os.utime(path, ns=(time.time_ns(), time.time_ns()))
        fcntl.flock(incoming.fileno(), fcntl.LOCK_SH)
        path.rename(self._objects / key)

    def usage(self) -> Usage:
        """What lies in the directory now."""
        objects = [size for size, _ in map(_size_and_use, self._objects.iterdir())]
        return Usage(len(objects), sum(objects) + sum(size for size, _ in map(_size_and_use, self._incoming.iterdir())))

    def _open(self, key: str, size: int) -> BinaryIO | None:
        path = self._objects / key
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            status = os.fstat(file.fileno())
            if status.st_nlink == 0:  # It was evicted between the two calls above.
                file.close()
                return None
            identity = (status.st_ino, status.st_size, status.st_mtime_ns)
            known, since = self._verified.get(key, (None, 0.0))
            if known != identity or time.monotonic() - since > VERIFIED_SECONDS:
                if status.st_size != size + HEX_BYTES or not _is_sound(file, size):
                    self._metrics.add("poisoned")
                    path.unlink(missing_ok=True)
                    file.close()
                    return None
                self._verified[key] = (identity, time.monotonic())
            # The time of the last use; relatime would not note it.
            os.utime(file.fileno(), ns=(time.time_ns(), status.st_mtime_ns))
        except OSError:
            file.close()
            return None
        return file

    def _make_room(self, needed: int) -> bool:
        left = self.limit - self.usage().bytes
        by_use = sorted(self._objects.iterdir(), key=lambda path: _size_and_use(path)[1])
        for path in by_use:
            if left >= needed:
                break
            size, _ = _size_and_use(path)
            if _unlink_unless_used(path):
                self._verified.pop(path.name, None)
                self._metrics.add("evictions")
                left += size
        return left >= needed

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _is_sound(file: BinaryIO, size: int) -> bool:
    sha = hashlib.sha256()
    left = size
    buffer = bytearray(256 * 1024)
    with memoryview(buffer) as view:
        while left and (count := file.readinto(view[:left])):  # type: ignore[attr-defined]
            sha.update(view[:count])
            left -= count
    return not left and file.read(HEX_BYTES) == sha.hexdigest().encode()


def _size_and_use(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_atime_ns


def _unlink_unless_used(path: Path) -> bool:
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            return True
        finally:
            os.close(fd)
    return False
