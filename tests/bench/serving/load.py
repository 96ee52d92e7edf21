"""One cell of the measurement: wrk's load on one server, and what wrk says of it."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

WRK = "/usr/bin/wrk"
SCRIPT = Path(__file__).with_name("wrk.lua")
TIMEOUT_SECONDS = 60
"""An answer that takes longer is an error. wrk's own 2 s would cut off what is slow and make it look faster."""


@dataclass(frozen=True)
class Load:
    """How a server is asked."""

    name: str
    connections: int
    rows: int
    """In each request."""


ONE_ROW = (Load("1 row, 1 connection", 1, 1), Load("1 row, 8 connections", 8, 1), Load("1 row, 64 connections", 64, 1))
MANY_ROWS = Load("1,000 rows, 1 connection", 1, 1000)
LOADS = (*ONE_ROW, MANY_ROWS)
WAVES = 5
MOST_SECONDS = 10


@dataclass(frozen=True)
class Measured:
    """What wrk saw. Times in milliseconds."""

    requests: int
    rate: float
    """Answers a second."""
    p50: float
    p99: float
    maximum: float
    errors: Mapping[str, int]
    """By kind: `connect`, `read`, `write`, `status` (not 2xx or 3xx), `timeout`."""

    @property
    def valid(self) -> bool:
        """Whether every request was answered well, and there was one."""
        return self.requests > 0 and not any(self.errors.values())


def seconds_for(load: Load, warm: Measured, least: int) -> int:
    """Return how long to measure a server that has answered `warm` while it warmed up.

    A slow server answers its connections in waves, of which one that is cut off by the end does not count: there should
    be several, where a few seconds are enough for that.
    """
    waves = math.ceil(WAVES * load.connections / warm.rate) if warm.requests else MOST_SECONDS
    return max(least, min(waves, MOST_SECONDS))


def read(output: str) -> Measured:
    """What wrk.lua prints, as the last line of wrk's output. Raises ValueError for anything else."""
    lines = output.splitlines()
    said = json.loads(lines[-1] if lines else "")
    return Measured(
        requests=said["requests"],
        rate=said["requests"] / (said["microseconds"] / 1e6),
        p50=said["p50"] / 1000,
        p99=said["p99"] / 1000,
        maximum=said["max"] / 1000,
        errors={kind: said[kind] for kind in ("connect", "read", "write", "status", "timeout")},
    )


def run(load: Load, url: str, path: str, bodies: Path, seconds: int) -> Measured:
    """Ask for the bodies (a file, one a line) in turn for some seconds; wrk knows whole ones only."""
    command = [
        *(WRK, "--threads", "1", "--connections", str(load.connections)),
        *("--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"),
        *("--script", str(SCRIPT), url, "--", str(bodies), path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + TIMEOUT_SECONDS)
    return read(done.stdout)
