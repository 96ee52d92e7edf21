"""Threads that predict what waits in a bounded queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from modelyard_serving import logs
from modelyard_serving.call import Call, Result
from modelyard_serving.engine import batch

STALL_SECONDS = 0.25
"""A call that has waited longer gets a thread of its own, if there may be one more: what runs may never end."""

Done = Callable[[Result | BaseException], None]


@dataclass(slots=True)
class Waiting:
    """A call, and whom to tell; `abandoned` once nobody waits for it any more."""

    call: Call
    done: Done
    since: float = field(default_factory=monotonic)
    abandoned: bool = False


class Lane:
    """At most `limit` calls wait; `execute` predicts one or several that fit each other.

    `least` threads take from the queue. Where a call waits too long although they are at it, up to `most` do: a
    prediction cannot be ended from outside, but those behind it can be spared.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Call]], list[Result | BaseException]],
        *,
        limit: int,
        least: int,
        most: int,
        batch_rows: int,
    ) -> None:
        """`batch_rows` is the largest batch; 0 leaves every call alone."""
        self._execute = execute
        self._limit = limit
        self._least = least
        self._most = most
        self._batch_rows = batch_rows
        self._queue: deque[Waiting] = deque()
        self._ready = threading.Condition()
        self._workers = 0
        self._idle = 0
        self._running: dict[int, float] = {}

    def submit(self, waiting: Waiting) -> bool:
        """Queue a call; False, and nothing done, if the queue is full."""
        with self._ready:
            if len(self._queue) >= self._limit:
                return False
            self._queue.append(waiting)
            self._ready.notify()
            # Those that are idle may have been called already, each for one call.
            if len(self._queue) > self._idle and self._workers < self._least:
                self._start()
        return True

    def relieve(self) -> bool:
        """Start another thread if a call has waited too long; whether any waits, so that this is to be called again."""
        with self._ready:
            if not self._queue:
                return False
            if not self._idle and self._workers < self._most and monotonic() - self._queue[0].since >= STALL_SECONDS:
                self._start()
            return True

    def depth(self) -> int:
        """How many calls wait."""
        return len(self._queue)

    def stuck(self, seconds: float) -> bool:
        """Whether every thread that there may be has been at one prediction for so long."""
        begun = list(self._running.values())
        return len(begun) >= self._most and monotonic() - max(begun) > seconds

    def _start(self) -> None:
        self._workers += 1
        threading.Thread(target=self._work, name="predict", daemon=True).start()

    def _work(self) -> None:
        identity = threading.get_ident()
        while True:
            with self._ready:
                if self._workers > self._least and not self._queue:
                    self._workers -= 1
                    return
                self._idle += 1
                while not self._queue:
                    self._ready.wait()
                self._idle -= 1
                taken = self._take()
                self._running[identity] = monotonic()
            try:
                self._serve(taken)
            finally:
                del self._running[identity]

    def _take(self) -> list[Waiting]:
        """The oldest call, and those behind it that fit it, without those that nobody waits for."""
        taken: list[Waiting] = []
        rows = 0
        while self._queue:
            if not self._queue[0].abandoned:
                call = self._queue[0].call
                if taken and not (self._batch_rows and batch.fits(taken[0].call, call, rows, self._batch_rows)):
                    break
                taken.append(self._queue[0])
                rows += call.rows
            self._queue.popleft()
        return taken

    def _serve(self, taken: Sequence[Waiting]) -> None:
        if not taken:
            return
        try:
            results = self._execute([each.call for each in taken])
        except BaseException as error:
            # Nobody may wait for ever, whatever breaks: even SystemExit, which a model's code may raise.
            logs.warn_once("prediction_broken", error=repr(error)[:500])
            results = [error] * len(taken)
        for waiting, result in zip(taken, results, strict=True):
            waiting.done(result)
