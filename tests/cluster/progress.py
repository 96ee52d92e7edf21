"""What a long task tells the person who waits: when it starts, that it is still alive, how long it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 15.0


@contextmanager
def progress(what: str, heartbeat: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Print a line at the start, one every `heartbeat` seconds and one at the end; none at the end of a failure."""
    started = time.monotonic()
    done = threading.Event()

    def beat() -> None:
        while not done.wait(heartbeat):
            print(f"  {what}: {time.monotonic() - started:.0f} s …", flush=True)

    print(f"{what} …", flush=True)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    print(f"  {what}: done in {time.monotonic() - started:.1f} s", flush=True)
