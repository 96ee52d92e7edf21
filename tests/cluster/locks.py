"""Locks between processes: two builds of one component, or an `up` and a `down`, take turns."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.paths import cache_dir


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the lock of this name; wait, and say so, while another process holds it. It ends with its process."""
    path = cache_dir() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that holds {path} …", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
