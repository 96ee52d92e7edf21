"""A file while it arrives: parts in any order and at the same time, hashed in order, gone on with after a restart."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

from modelyard_serving.fetch.ranges import PART_BYTES, Span, parts

CHUNK_BYTES = 256 * 1024
JOURNAL_BYTES = 1024 * 1024
"""A file that is smaller is downloaded again after a restart: that is no slower."""
_WIDTH = 20


class Incoming:
    """Bytes are first written and then noted, in the journal too: what is noted is there, whenever the process ends.

    (Not so if the node ends; then the digest tells.) Memory: a chunk for each thread that writes.
    """

    def __init__(self, path: Path, size: int, etag: str | None, journal: Path | None = None) -> None:
        self.size = size
        self.etag = etag
        self.spans = parts(size) if etag else [Span(0, size)] if size else []
        """Without an ETag nothing says that two requests read the same object: one part, and no going on with it."""
        self.changed = threading.Condition()
        """Notified when `position` grows or the file is given up; see the node cache."""
        self.resumed = False
        self._done = [0] * len(self.spans)
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._hashing = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._journal = -1
        try:
            if journal and etag and size >= JOURNAL_BYTES:
                self._open_journal(journal)
            if not self.resumed:
                os.ftruncate(self._fd, 0)
                os.ftruncate(self._fd, size)
        except OSError:
            self.close()
            raise

    @property
    def position(self) -> int:
        """So many bytes from the beginning have arrived and are hashed."""
        return self._hashed

    @property
    def complete(self) -> bool:
        """Everything has arrived."""
        return sum(self._done) == self.size

    def offset(self, index: int) -> int:
        """Where part `index` is to be gone on with; its stop if it is complete."""
        return self.spans[index].start + self._done[index]

    def missing(self) -> list[int]:
        """The parts that are not complete."""
        return [index for index, span in enumerate(self.spans) if self._done[index] < span.stop - span.start]

    def write(self, offset: int, data: memoryview) -> None:
        """Store bytes that follow what the part holds already. Raises OSError: the disk."""
        written = 0
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], offset + written)
        self._note(offset, len(data))
        if self._hashing.acquire(blocking=False):
            # Who comes while another hashes leaves its bytes to be read back: waiting would make it one at a time.
            try:
                if self._hashed == offset:
                    self._hash.update(data)
                    self._advance(len(data))
                else:
                    self._catch_up(limit=len(data))
            finally:
                self._hashing.release()

    def catch_up(self) -> int:
        """Hash what has arrived until now, as far as nothing is missing before it; the new `position`."""
        with self._hashing:
            self._catch_up(limit=self.size)
        return self._hashed

    def restart(self) -> None:
        """Begin anew: nothing that has arrived counts any more."""
        with self._hashing:
            self._done = [0] * len(self.spans)
            self._hash, self._hashed = hashlib.sha256(), 0

    def sha256(self) -> str:
        """The hash of the complete file, in hex."""
        with self._hashing:
            self._catch_up(limit=self.size)
            assert self._hashed == self.size
            return self._hash.hexdigest()

    def read(self, offset: int, count: int) -> bytes:
        """Bytes that have arrived."""
        return os.pread(self._fd, count, offset)

    def append(self, data: bytes) -> None:
        """Write something behind the file's own bytes."""
        os.pwrite(self._fd, data, self.size)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def close(self) -> None:
        """Close what is open; the file stays as it is."""
        for fd in (self._fd, self._journal):
            if fd >= 0:
                os.close(fd)
        self._fd = self._journal = -1

    def _note(self, offset: int, count: int) -> None:
        while count:
            index = offset // PART_BYTES if len(self.spans) > 1 else 0
            span = self.spans[index]
            piece = min(count, span.stop - offset)
            self._done[index] = max(self._done[index], offset + piece - span.start)
            if self._journal >= 0:
                os.pwrite(self._journal, b"%0*d" % (_WIDTH, self._done[index]), self._notes + index * _WIDTH)
            offset, count = offset + piece, count - piece

    def _advance(self, count: int) -> None:
        with self.changed:
            self._hashed += count
            self.changed.notify_all()

    def _catch_up(self, limit: int) -> None:
        """Hash up to `limit` bytes more, of those that wait in the file."""
        while limit > 0 and self._hashed < self.size:
            index = self._hashed // PART_BYTES if len(self.spans) > 1 else 0
            ready = min(self.offset(index) - self._hashed, CHUNK_BYTES, limit)
            if ready <= 0 or not (data := os.pread(self._fd, ready, self._hashed)):
                return
            self._hash.update(data)
            self._advance(len(data))
            limit -= len(data)

    def _open_journal(self, path: Path) -> None:
        header = json.dumps({"etag": self.etag, "size": self.size, "part": PART_BYTES}).encode() + b"\n"
        self._notes = len(header)
        self._journal = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        text = os.pread(self._journal, len(header) + _WIDTH * len(self.spans) + 1, 0)
        done = _notes(text.removeprefix(header), self.spans) if text.startswith(header) else None
        if done is not None and os.fstat(self._fd).st_size == self.size:
            self._done = done
            self.resumed = any(done)
        if not self.resumed:
            os.ftruncate(self._journal, 0)
            os.pwrite(self._journal, header + b"0" * (_WIDTH * len(self.spans)), 0)


def _notes(text: bytes, spans: list[Span]) -> list[int] | None:
    """How much of each part is there; None if the text is not what the journal writes."""
    if len(text) != _WIDTH * len(spans) or not text.isdigit():
        return None
    done = [int(text[at : at + _WIDTH]) for at in range(0, len(text), _WIDTH)]
    return done if all(count <= span.stop - span.start for count, span in zip(done, spans, strict=True)) else None
