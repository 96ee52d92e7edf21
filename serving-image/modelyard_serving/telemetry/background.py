"""Hands what requests leave behind to a thread, a batch at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from modelyard_serving import logs
from modelyard_serving.telemetry.note import Note

MAX_WAITING = 8192
"""Notes; more are left out, and counted."""
SECONDS = 0.2
"""Between batches."""

Sink = Callable[[Sequence[Note], int], None]
"""(notes, how many were left out before them). Called by one thread."""


class Background:
    """`add` is for the event loop and never waits. Faults of the sink harm nothing but its notes."""

    def __init__(self, name: str, sink: Sink, close: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._sink = sink
        self._close = close
        self._waiting: deque[Note] = deque()
        self._left_out = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to take notes."""
        self._thread.start()

    def add(self, note: Note) -> None:
        """Keep a note for the sink."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(note)
        else:
            self._left_out += 1

    def stop(self, seconds: float) -> None:
        """Let the sink have what there is, and close it; no longer than so."""
        self._ending.set()
        self._thread.join(seconds)

    def _work(self) -> None:
        while not self._ending.wait(SECONDS):
            self._pass_on()
        self._pass_on()
        self._guarded(self._close)

    def _pass_on(self) -> None:
        notes = [self._waiting.popleft() for _ in range(len(self._waiting))]
        left_out, self._left_out = self._left_out, 0
        if notes or left_out:
            self._guarded(lambda: self._sink(notes, left_out))

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:
            logs.warn_once("telemetry_failed", of=self._name, error=repr(error)[:500])
