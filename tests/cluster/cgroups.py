"""The cluster's control groups: one tree for its pods, and one group for its own processes.

The group of its own processes is also how `down` finds them all: a process, and a shim of containerd that one started,
cannot leave it, whatever became of the records.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.settings import CGROUP

ROOT = Path("/sys/fs/cgroup")
V2_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io", "hugetlb")


def is_v2(root: Path = ROOT) -> bool:
    """Tell whether the host has the unified hierarchy alone."""
    return (root / "cgroup.controllers").exists()


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Return the root directory of every hierarchy: one in version 2, one a controller in version 1."""
    if is_v2(root):
        return [root]
    return sorted({path.resolve() for path in root.iterdir() if path.is_dir()})


def ensure(root: Path = ROOT) -> Path:
    """Make the tree, and return the group for the cluster's own processes."""
    for hierarchy in hierarchies(root):
        (hierarchy / CGROUP).mkdir(exist_ok=True)
    if is_v2(root):
        for group in (root, root / CGROUP):
            _delegate(group)
    elif (root / "cpuset").exists():
        # A new cpuset has no processors, and a process cannot enter it.
        for name in ("cpuset.cpus", "cpuset.mems"):
            (root / "cpuset" / CGROUP / name).write_text((root / "cpuset" / name).read_text())
    own = _own_group(root)
    own.mkdir(exist_ok=True)
    return own


def _own_group(root: Path) -> Path:
    return (root if is_v2(root) else root / "pids") / CGROUP / "daemons"


def _delegate(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    enabled = " ".join(f"+{name}" for name in V2_CONTROLLERS if name in available)
    (group / "cgroup.subtree_control").write_text(enabled)


def groups(root: Path = ROOT) -> list[Path]:
    """Return every group of the cluster's, children before their parents."""
    found: list[Path] = []
    for hierarchy in hierarchies(root) if root.exists() else []:
        found += [Path(directory) for directory, _, _ in os.walk(hierarchy / CGROUP, topdown=False)]
    return found


def processes(root: Path = ROOT) -> set[int]:
    """Return the ids of all processes in the cluster's groups: its own and the pods'."""
    return {pid for group in groups(root) for pid in _members(group)}


def kill(seconds: float = 20.0, root: Path = ROOT) -> None:
    """Kill every process in the cluster's groups. Raises ClusterError for those that do not end."""
    deadline = time.monotonic() + seconds
    while remaining := processes(root) - {os.getpid()}:
        if time.monotonic() > deadline:
            raise ClusterError(f"these processes of the cluster do not end: {sorted(remaining)}")
        for pid in remaining:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def remove(root: Path = ROOT) -> None:
    """Remove the groups, which are empty."""
    for group in groups(root):
        group.rmdir()


def _members(group: Path) -> Iterator[int]:
    try:
        yield from (int(line) for line in (group / "cgroup.procs").read_text().split())
    except FileNotFoundError:
        return
