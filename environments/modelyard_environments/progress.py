"""The Job's log: a line for each thing that is done."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path

from modelyard_environments.running import without_credentials

TERMINATION_LOG = Path("/dev/termination-log")


def say(line: str) -> None:
    """Write one line with the time, without credentials."""
    now = datetime.now(timezone.utc).strftime("%H:%M:%S")
    print(f"{now} {without_credentials(line)}", flush=True)


def fail(message: str, termination_log: Path = TERMINATION_LOG) -> int:
    """Say why it failed where Kubernetes finds it; return the exit code."""
    line = without_credentials(" ".join(message.split()))
    print(line, file=sys.stderr, flush=True)
    if termination_log.exists():
        termination_log.write_text(line[:4000])
    return 1
