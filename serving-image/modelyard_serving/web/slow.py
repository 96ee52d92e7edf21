"""Ends the waiting for clients that send too slowly."""

from __future__ import annotations

import asyncio
from time import monotonic

GLANCE_SECONDS = 0.25


class Reading:
    """One body that is being read."""

    __slots__ = ("expired", "task", "until")

    def __init__(self, task: asyncio.Task[None] | None, until: float) -> None:
        self.task = task
        self.until = until
        self.expired = False


class SlowClients:
    """Cancels the tasks of bodies that do not arrive in time.

    One look at all of them, now and then, instead of a timer for each: nearly all bodies are there already.
    """

    def __init__(self) -> None:
        self._reading: set[Reading] = set()
        self._watched = False

    def begin(self, seconds: float) -> Reading:
        """The current task reads a body, which may take so long."""
        reading = Reading(asyncio.current_task(), monotonic() + seconds)
        self._reading.add(reading)
        if not self._watched:
            self._watched = True
            asyncio.get_running_loop().call_later(GLANCE_SECONDS, self._look)
        return reading

    def end(self, reading: Reading) -> None:
        """The body has arrived, or nobody waits for it any more."""
        self._reading.discard(reading)

    def _look(self) -> None:
        now = monotonic()
        for reading in self._reading:
            if reading.until < now and not reading.expired and reading.task is not None:
                reading.expired = True
                reading.task.cancel()
        self._watched = bool(self._reading)
        if self._watched:
            asyncio.get_running_loop().call_later(GLANCE_SECONDS, self._look)
