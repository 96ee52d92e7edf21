"""Starts a component unless it runs already, and waits until it answers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import processes
from tests.cluster.components import Component
from tests.cluster.errors import ClusterError
from tests.cluster.packages import program

POLL_SECONDS = 0.1


def ensure_running(component: Component, ready: Callable[[], bool], cgroup: Path, seconds: float = 60.0) -> None:
    """Start a component that does not run, or that runs with another command, and wait until `ready` says so.

    Raises ClusterError with the end of its log when it ends instead or does not become ready in time, and with the
    owner's name when another program listens where it should.
    """
    record = processes.running(component.name)
    if record is not None and record.digest != component.digest:
        processes.stop(component.name)
        record = None
    if record is None:
        if conflicts := port_conflicts(component):
            raise ClusterError("\n".join(conflicts))
        if component.config:
            component.config_path.parent.mkdir(exist_ok=True)
            component.config_path.write_text(component.config)
        processes.start(component.name, component.command, component.environment, component.digest, cgroup)
    wait_until(component.name, ready, seconds, lambda: _check_alive(component.name))


def wait_until(what: str, ready: Callable[[], bool], seconds: float, check: Callable[[], None] = lambda: None) -> None:
    """Wait until `ready` says so; `check` may raise earlier. Raises ClusterError when the time is over."""
    deadline = time.monotonic() + seconds
    while not ready():
        check()
        if time.monotonic() > deadline:
            tail = f"\n{processes.log_tail(what)}" if processes.log_path(what).exists() else ""
            raise ClusterError(f"{what} is not ready after {seconds:.0f} s{tail}")
        time.sleep(POLL_SECONDS)


def _check_alive(name: str) -> None:
    if processes.running(name) is None:
        raise ClusterError(f"{name} ended:\n{processes.log_tail(name)}")


def port_conflicts(component: Component) -> list[str]:
    """Return a line for every port of the component that another program listens on."""
    if not component.ports:
        return []
    ports = " or ".join(f"sport = :{port}" for port in component.ports)
    command = [program("ss"), "--no-header", "--listening", "--tcp", "--numeric", "--processes", f"( {ports} )"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return parse_conflicts(component.name, listing)


def parse_conflicts(name: str, listing: str) -> list[str]:
    """Turn the lines of `ss --listening --processes` into messages that name the port and its owner."""
    conflicts = []
    for line in listing.splitlines():
        fields = line.split()
        owner = fields[5].removeprefix("users:") if len(fields) > 5 else "a process that cannot be seen"
        conflicts.append(f"{name} cannot listen at {fields[3]}: {owner} does")
    return conflicts
