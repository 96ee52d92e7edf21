"""How long a prediction will take, judged by how long the last ones took."""

from __future__ import annotations

from collections import deque

REMEMBERED = 16
INLINE_SECONDS = 0.0005
"""A prediction that is expected to take less runs in the event loop: a thread would cost more than it frees."""


class Pace:
    """Seconds a row of the newest predictions. The least counts: a busy machine makes some slower, none faster."""

    def __init__(self) -> None:
        self._per_row: deque[float] = deque(maxlen=REMEMBERED)
        self._least: float | None = None

    def record(self, rows: int, seconds: float) -> None:
        """A prediction has taken so long."""
        self._per_row.append(seconds / max(rows, 1))
        self._least = min(self._per_row)

    def is_quick(self, rows: int) -> bool:
        """Whether so many rows are expected to take less than `INLINE_SECONDS`; False while nothing is known."""
        return self._least is not None and self._least * rows < INLINE_SECONDS
