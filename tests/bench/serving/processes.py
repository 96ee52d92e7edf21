"""What a server's processes take: until they are ready, memory, CPU, and whether they still work."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import START_SECONDS, Process

PROC = Path("/proc")
MIB = 1024 * 1024
IDLE_SECONDS = 0.2
IDLE_CPU_SECONDS = 0.015
"""Event loops wake up now and then; the kernel counts hundredths of a second."""


@dataclass(frozen=True)
class Memory:
    """Of all processes of a server together, in MiB."""

    rss: float
    """As `ps` says: what several of them share counts several times."""
    pss: float
    """What they share, shared among them (and whoever else has it in memory)."""


def seconds_until(process: Process, url: str, begin: float) -> float:
    """Return how long after `begin` (of time.monotonic) the URL first answers 200. Raises RuntimeError if never."""
    while time.monotonic() < begin + START_SECONDS:
        if process.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=START_SECONDS) as answer:
                if answer.status == 200:
                    return time.monotonic() - begin
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.005)
    raise RuntimeError(f"{url} does not answer 200:\n{process.log.read_text()[-4000:]}")


def memory(session: int) -> Memory:
    """Return what the processes of a session take now."""
    rss, pss = 0, 0
    for directory in _processes(session):
        sizes = dict(line.split(":", 1) for line in (directory / "smaps_rollup").read_text().splitlines()[1:])
        rss += int(sizes["Rss"].split()[0])
        pss += int(sizes["Pss"].split()[0])
    return Memory(rss * 1024 / MIB, pss * 1024 / MIB)


def cpu_seconds(session: int) -> float:
    """Return the CPU time that a session's processes have used: utime and stime of proc(5)."""
    ticks = sum(int(fields[11]) + int(fields[12]) for each in _processes(session) if (fields := _stat(each)))
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_idle(session: int, seconds: float = 60) -> None:
    """Wait until a session uses no CPU: a server goes on with requests that wrk no longer waits for."""
    deadline = time.monotonic() + seconds
    before = cpu_seconds(session)
    while time.monotonic() < deadline:
        time.sleep(IDLE_SECONDS)
        now = cpu_seconds(session)
        if now - before <= IDLE_CPU_SECONDS:
            return
        before = now
    raise RuntimeError(f"the processes of session {session} are not idle within {seconds:.0f} s")


def _processes(session: int) -> Iterator[Path]:
    for directory in PROC.iterdir():
        if directory.name.isdigit() and (fields := _stat(directory)) and int(fields[3]) == session:
            yield directory


def _stat(directory: Path) -> list[str]:
    """The fields of /proc/<pid>/stat from the state (the third) on; none of a process that has ended."""
    try:
        return (directory / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
