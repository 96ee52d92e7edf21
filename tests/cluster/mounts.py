"""Mounts below a directory: what containerd and the kubelet leave when they are killed."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import time
from pathlib import Path

from tests.cluster.errors import ClusterError

MOUNTINFO = Path("/proc/self/mountinfo")


def mounts_below(directory: Path, mountinfo: str | None = None) -> list[Path]:
    """Return the mount points in or at a directory, the latest mounted first; one for every mount that covers it."""
    text = MOUNTINFO.read_text() if mountinfo is None else mountinfo
    # Field 5 of proc_pid_mountinfo(5); blanks and backslashes are written in octal.
    points = [Path(_unescape(line.split()[4])) for line in text.splitlines()]
    return [point for point in reversed(points) if point == directory or directory in point.parents]


def unmount_below(directory: Path, seconds: float = 10.0) -> None:
    """Unmount everything in a directory. Raises ClusterError for what stays busy."""
    deadline = time.monotonic() + seconds
    while remaining := mounts_below(directory):
        for point in remaining:
            _umount(point)
        if time.monotonic() > deadline and mounts_below(directory):
            raise ClusterError(f"still mounted: {', '.join(str(point) for point in mounts_below(directory))}")
        if mounts_below(directory):
            time.sleep(0.1)


def remove_tree(directory: Path) -> None:
    """Remove a directory with all it holds, if it exists. Raises ClusterError rather than reach into a mount."""
    if mounts_below(directory):
        raise ClusterError(f"{directory} holds mounts")
    shutil.rmtree(directory, ignore_errors=False) if directory.exists() else None


def _umount(point: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # A busy one (EBUSY) is tried again by the caller, for as long as it has time.
    libc.umount2(os.fsencode(point), 0)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
