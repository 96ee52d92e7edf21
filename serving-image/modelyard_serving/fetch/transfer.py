"""Objects to files: over files and over parts of one file at the same time, going on where a stream broke off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from modelyard_serving import logs
from modelyard_serving.fetch.cache import CacheRefused
from modelyard_serving.fetch.http import NetworkError, Stream
from modelyard_serving.fetch.incoming import CHUNK_BYTES, Incoming
from modelyard_serving.fetch.ranges import Span
from modelyard_serving.fetch.store import ATTEMPTS, Store, StoredObject, backoff

PARALLEL_DOWNLOADS = 8
PROGRESS_SECONDS = 10.0
ENOUGH_BYTES = 1024 * 1024
"""A stream that brought so much before it broke off is not held against the next one."""

OpenSpan = Callable[[Span], AbstractContextManager[Stream]]


class Stopped(Exception):
    """Another part has failed: this one is not wanted any more."""


class Progress:
    """Counts bytes, and says how far a long download is."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._begin = self._told = time.monotonic()
        self._lock = threading.Lock()
        self.bytes = 0
        self.stopped = threading.Event()
        """Set once something has failed: whoever goes on gets Stopped."""

    def add(self, count: int) -> None:
        """So many bytes more have arrived. Raises Stopped."""
        if self.stopped.is_set():
            raise Stopped
        with self._lock:
            self.bytes += count
            now = time.monotonic()
            if now - self._told < PROGRESS_SECONDS:
                return
            self._told = now
        rate = self.bytes / (now - self._begin)
        logs.event(
            "downloading",
            source=self._what,
            bytes=self.bytes,
            of=self._total,
            percent=round(100 * self.bytes / max(self._total, 1)),
            seconds_left=round((self._total - self.bytes) / rate) if rate else None,
        )


def download(
    store: Store,
    files: list[tuple[StoredObject, Incoming]],
    progress: Progress,
    *,
    cached: bool,
    first: Callable[[], None] | None = None,
) -> bool:
    """Fill the files; with `cached`, from the node's cache as far as it gets. Whether anything came from there.

    `first` is called in a thread of its own once the first file is complete.
    Raises what `Store.open` raises once an object has failed `ATTEMPTS` times, and OSError: the disk.
    """
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool:
        try:
            asking: list[Future[int]] = []
            told = _Once(files[0][1], first) if first else None
            if cached and store.cache and store.cache.usable:
                asking = [pool.submit(_from_cache, store, item, file, progress) for item, file in files if item.etag]
                _tell(asking, told)
            _all(asking)
            filling = [
                pool.submit(fill, file, index, partial(store.open, item), progress)
                for item, file in files
                for index in file.missing()
            ]
            _tell(filling, told)
            _all(filling)
        except BaseException:
            progress.stopped.set()
            raise
    return any(future.result() for future in asking)


class _Once:
    """Tells once that a file is complete."""

    def __init__(self, file: Incoming, tell: Callable[[], None]) -> None:
        self._file = file
        self._tell: list[Callable[[], None]] = [tell]

    def __call__(self, _: Future[Any]) -> None:
        if self._tell and self._file.complete:
            threading.Thread(target=self._tell.pop(), name="arrived", daemon=True).start()


def _tell(futures: Sequence[Future[Any]], told: _Once | None) -> None:
    """Have the first file looked at when the first of these ends, which is the first file's."""
    if told and futures:
        futures[0].add_done_callback(told)


def fill(file: Incoming, index: int, open_span: OpenSpan, progress: Progress) -> None:
    """Complete one part. Raises as `download` does, and Stopped."""
    failures = 0
    while (offset := file.offset(index)) < file.spans[index].stop:
        span = Span(offset, file.spans[index].stop)
        try:
            with open_span(span) as stream:
                _copy(stream, file, span, progress)
        except NetworkError:
            failures = 1 if file.offset(index) - offset >= ENOUGH_BYTES else failures + 1
            if failures >= ATTEMPTS:
                raise
            if not file.etag:
                file.restart()
            progress.stopped.wait(backoff(failures))


def _all(futures: Sequence[Future[Any]]) -> None:
    """Wait for all of them, or for the first that fails, and raise what that one raised."""
    done, others = wait(futures, return_when=FIRST_EXCEPTION)
    if others:
        for other in others:
            other.cancel()
    for future in done:
        future.result()


def _from_cache(store: Store, item: StoredObject, file: Incoming, progress: Progress) -> int:
    """Bytes that the node's cache gave: all, some or none of the object. What fails there is no failure here."""
    begin = file.catch_up()
    if begin == file.size or store.cache is None or not store.cache.usable:
        return 0
    try:
        with store.cache.open(item, store.url(item), begin) as stream:
            _copy(stream, file, Span(begin, file.size), progress)
    except (CacheRefused, NetworkError) as error:
        logs.warning("node_cache_not_used", object=item.key, error=str(error)[:300])
    return file.position - begin


def _copy(stream: Stream, file: Incoming, span: Span, progress: Progress) -> None:
    """Write all of the span. Raises NetworkError if the stream ends before."""
    offset = span.start
    with memoryview(bytearray(min(CHUNK_BYTES, span.stop - offset))) as buffer:
        while offset < span.stop:
            count = stream.readinto(buffer[: span.stop - offset])
            if count == 0:
                raise NetworkError(f"the stream ended {span.stop - offset} bytes too early")
            file.write(offset, buffer[:count])
            offset += count
            progress.add(count)
