"""What the three reconcilers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Outcome:
    """What a reconcile leaves: when to look again although nothing has been seen to change (seconds), or never."""

    requeue_after: float | None = None


class Reconciler(Protocol):
    """Brings one object's world to what its spec asks for.

    Called in a worker thread, never twice at the same time for one object. Doing nothing is the usual case and must
    cost no write. A fault that a person cannot mend in the object is raised: it is tried again with growing pauses.
    """

    def __call__(self, namespace: str, name: str) -> Outcome:
        """Reconcile the object; one that is gone is no error."""


Clock = Callable[[], datetime]
"""Returns the present moment, aware, in UTC. Injected, so that tests own the time."""
