"""A work queue of object keys, with the semantics of client-go's.

One key is never processed twice at the same time; a key added while it is being processed is processed once more
afterwards; any number of additions before that count as one; a failure is tried again after a growing pause.
Reference: https://pkg.go.dev/k8s.io/client-go/util/workqueue
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0

SPACING_A_KEY_SECONDS = 0.01
"""By how much each key that waits for a worker lengthens the spacing of others: about what a worker needs for it."""


@dataclass(frozen=True, order=True)
class Key:
    """Names one object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.kind.lower()} {self.namespace}/{self.name}"


Process = Callable[[Key], Awaitable[float | None]]
"""Processes a key; returns after how many seconds to do it again, or None. An exception means: try again."""


class WorkQueue:
    """Keys waiting for a worker. To be used from one event loop."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._processed: dict[Key, float] = {}
        """When each key was processed last."""
        self._workers: list[asyncio.Task[None]] = []

    @property
    def idle(self) -> bool:
        """Whether no key waits, neither for a worker nor for its time, and none is being processed."""
        return not (self._queued or self._active or self._timers)

    def add(self, key: Key) -> None:
        """Have `key` processed as soon as a worker is free."""
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._waiting.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have `key` processed after a while, unless it is to be processed earlier anyway."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def add_spaced(self, key: Key, seconds: float) -> None:
        """Have `key` processed as soon as it has been left alone for so long: many changes come at once.

        While many keys wait, for longer: those that have not had their turn go first, and by then there is more to see.
        """
        seconds = max(seconds, SPACING_A_KEY_SECONDS * len(self._queued))
        if key in self._active:
            self.add_after(key, seconds)
            return
        wait = self._processed.get(key, -seconds) + seconds - asyncio.get_running_loop().time()
        if wait > 0:
            self.add_after(key, wait)
        else:
            self.add(key)

    def forget(self, key: Key) -> None:
        """Drop the timer and the failures of an object that is gone."""
        self._failures.pop(key, None)
        self._processed.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()

    def start(self, workers: int) -> None:
        """Start that many workers."""
        self._workers = [asyncio.create_task(self._work(), name=f"worker-{number}") for number in range(workers)]

    async def stop(self) -> None:
        """Stop the workers; what a worker is processing in a thread is left to end by itself."""
        for timer in self._timers.values():
            timer.cancel()
        for worker in self._workers:
            worker.cancel()
        for worker in self._workers:
            with contextlib.suppress(asyncio.CancelledError):
                await worker

    async def _work(self) -> None:
        while True:
            key = await self._waiting.get()
            self._queued.discard(key)
            self._active.add(key)
            try:
                await self._process_one(key)
            finally:
                self._active.discard(key)
                self._processed[key] = asyncio.get_running_loop().time()
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _process_one(self, key: Key) -> None:
        try:
            again_after = await self._process(key)
        except Exception:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            pause = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
            log.exception("%s: failure %d in a row, trying again in %.1f s", key, failures, pause)
            self.add_after(key, pause)
            return
        self._failures.pop(key, None)
        if again_after is not None:
            self.add_after(key, again_after)
