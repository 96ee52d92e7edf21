"""The cluster's processes: started detached from the shell, remembered by records that survive it.

A record is a file with the process's id, the time it was started and its command. The id alone would not do: ids are
used again, and after a crash or a reboot another program may have ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.paths import state_dir

PROC = Path("/proc")


@dataclass(frozen=True)
class Record:
    """A process that was started, which may have ended since."""

    pid: int
    start_time: int
    """In clock ticks since the machine's boot: /proc/PID/stat, field 22 (proc_pid_stat(5))."""
    boot_id: str
    digest: str
    """Of its command and configuration: a process whose digest is another than wanted is out of date."""


def start_time(pid: int, proc: Path = PROC) -> int | None:
    """Return when a process was started, in ticks since boot; None for one that does not exist or is a zombie."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the name in parentheses, may hold spaces and parentheses itself.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def boot_id(proc: Path = PROC) -> str:
    """Return what names this boot of the machine, as start times of two boots cannot be compared."""
    return (proc / "sys/kernel/random/boot_id").read_text().strip()


def alive(record: Record, proc: Path = PROC) -> bool:
    """Tell whether the very process of the record, not another that got its id, is running."""
    return record.boot_id == boot_id(proc) and start_time(record.pid, proc) == record.start_time


def record_path(name: str) -> Path:
    """Return the file of a process's record."""
    return state_dir() / "processes" / f"{name}.json"


def log_path(name: str) -> Path:
    """Return the file that a process writes its output to; every start appends."""
    return state_dir() / "logs" / f"{name}.log"


def read_record(name: str) -> Record | None:
    """Return a process's record, or None where there is none or a crash left half of one."""
    try:
        return Record(**json.loads(record_path(name).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def running(name: str) -> Record | None:
    """Return the record of a process that is running now, else None."""
    record = read_record(name)
    return record if record is not None and alive(record) else None


def start(
    name: str, command: Sequence[str], environment: Mapping[str, str], digest: str = "", cgroup: Path | None = None
) -> Record:
    """Start a process in a session and, where given, a cgroup of its own, and remember it."""
    log_path(name).parent.mkdir(parents=True, exist_ok=True)
    with log_path(name).open("ab") as log:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # It shall outlive this program: subprocess warns of a child that is forgotten before its end was seen.
    process.returncode = 0
    if cgroup is not None:
        (cgroup / "cgroup.procs").write_text(str(process.pid))
    started = start_time(process.pid)
    if started is None:
        raise ClusterError(f"{name} ended at once:\n{log_tail(name)}")
    record = Record(process.pid, started, boot_id(), digest)
    path = record_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record)))
    partial.replace(path)
    return record


def stop(name: str, grace: float = 3.0) -> None:
    """End a process, by force when `grace` seconds do not suffice, and forget it. One that is gone is no error."""
    record = read_record(name)
    if record is not None and alive(record):
        os.kill(record.pid, signal.SIGTERM)
        if not _gone(record, grace):
            os.kill(record.pid, signal.SIGKILL)
            if not _gone(record, grace):
                raise ClusterError(f"{name} (process {record.pid}) does not end")
    record_path(name).unlink(missing_ok=True)


def _gone(record: Record, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(record):
        if time.monotonic() > deadline:
            return False
        _reap(record.pid)
        time.sleep(0.02)
    return True


def _reap(pid: int) -> None:
    """Collect the process if it is a child of this one, as it is when one command starts and stops it."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def log_tail(name: str, lines: int = 15) -> str:
    """Return the last lines of a process's log, indented, under the log's path."""
    path = log_path(name)
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return f"{path} does not exist"
    return "\n".join([f"{path}:", *(f"    {line}" for line in text.splitlines()[-lines:])])
