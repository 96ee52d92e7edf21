"""Downloads into the cache: one at a time for each object, however many ask for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path

from modelyard_serving import logs
from modelyard_serving.fetch.http import Client
from modelyard_serving.fetch.incoming import CHUNK_BYTES, Incoming
from modelyard_serving.fetch.store import open_span
from modelyard_serving.fetch.transfer import Progress, fill
from modelyard_serving.nodecache.entries import Entries
from modelyard_serving.nodecache.metrics import Metrics
from modelyard_serving.nodecache.request import Asked

PARALLEL_PARTS = 4
WAIT_SECONDS = 60.0
"""How long a download may stand still before those who wait for it go to the store themselves."""


class Result(StrEnum):
    """How a request found the download it needs."""

    MISS = "miss"
    """It began it."""
    JOINED = "joined"
    """Another had begun it."""
    LANDED = "landed"
    """It has just come to its end."""
    PASSED = "passed"
    """There is no room for the object."""


class Failed(Exception):
    """The download came to no end: the rest is to be had from the store."""


class Flight:
    """One download; those who joined read what has arrived, in order, while the rest is on its way."""

    def __init__(self, asked: Asked, incoming: Incoming, path: Path) -> None:
        self.asked = asked
        self.incoming = incoming
        self.path = path
        self.users = 1
        """The download itself, and who reads it; guarded by Flights."""
        self.over = False
        self.error: Exception | None = None

    def read(self, offset: int, stop: int) -> Iterator[bytes]:
        """The bytes from `offset` to `stop`, as they arrive. Raises Failed."""
        while offset < stop:
            with self.incoming.changed:
                arrived = self.incoming.changed.wait_for(
                    lambda at=offset: self.incoming.position > at or self.over,  # type: ignore[misc]
                    WAIT_SECONDS,
                )
            if not arrived or self.incoming.position <= offset:
                raise Failed(str(self.error or "it stands still"))
            data = self.incoming.read(offset, min(CHUNK_BYTES, self.incoming.position - offset, stop - offset))
            offset += len(data)
            yield data

    def end(self, error: Exception | None) -> None:
        """There will be no more bytes."""
        with self.incoming.changed:
            self.error = error
            self.over = True
            self.incoming.changed.notify_all()


class Flights:
    """All downloads that are under way."""

    def __init__(self, entries: Entries, http: Client, metrics: Metrics) -> None:
        self._entries = entries
        self._http = http
        self._metrics = metrics
        self._lock = threading.Lock()
        self._under_way: dict[str, Flight] = {}

    @contextmanager
    def join(self, asked: Asked) -> Iterator[tuple[Flight | None, Result]]:
        """The download of the object, which is begun if there is none; None if it has landed, or there is no room."""
        with self._lock:
            flight, result = self._under_way.get(asked.key), Result.JOINED
            if flight is None and self._entries.has(asked.key):
                result = Result.LANDED
            elif flight is None:
                flight = self._begin(asked)
                result = Result.MISS if flight else Result.PASSED
            if flight is not None:
                flight.users += 1
        try:
            yield flight, result
        finally:
            if flight is not None:
                self._leave(flight)

    def _begin(self, asked: Asked) -> Flight | None:
        assert asked.item.etag
        try:
            room = self._entries.reserve(asked.key, asked.item.size, asked.item.etag)
        except OSError as error:
            self._fault(error)
            return None
        if room is None:
            return None
        flight = Flight(asked, *room)
        self._under_way[asked.key] = flight
        threading.Thread(target=self._run, args=(flight,), name="flight", daemon=True).start()
        return flight

    def _run(self, flight: Flight) -> None:
        error: Exception | None = None
        try:
            self._download(flight)
            self._entries.publish(flight.asked.key, flight.incoming, flight.path)
            self._metrics.add("downloads")
        except Exception as failure:
            error = failure
            flight.path.unlink(missing_ok=True)
            self._fault(failure)
        flight.end(error)
        with self._lock:
            del self._under_way[flight.asked.key]
        self._leave(flight)

    def _download(self, flight: Flight) -> None:
        asked = flight.asked
        progress = _Counting(asked.item.key, asked.item.size, self._metrics)
        open_part = partial(open_span, self._http, asked.url, asked.item)
        with ThreadPoolExecutor(PARALLEL_PARTS, thread_name_prefix="part") as pool:
            futures = [
                pool.submit(fill, flight.incoming, index, open_part, progress) for index in flight.incoming.missing()
            ]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                progress.stopped.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _fault(self, error: Exception) -> None:
        self._metrics.add("faults")
        logs.warning("not_cached", error=f"{type(error).__name__}: {error}"[:300])

    def _leave(self, flight: Flight) -> None:
        with self._lock:
            flight.users -= 1
            if flight.users == 0:
                flight.incoming.close()


class _Counting(Progress):
    """Counts for the metrics too."""

    def __init__(self, what: str, total: int, metrics: Metrics) -> None:
        super().__init__(what, total)
        self._metrics = metrics

    def add(self, count: int) -> None:
        """So many bytes more have arrived. Raises Stopped."""
        self._metrics.add("store_bytes", count)
        super().add(count)
