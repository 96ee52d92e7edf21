"""Stops the cluster, removes everything that it made outside the cache, and checks that nothing of it is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cgroups, host, iptables, mounts, network
from tests.cluster.components import NAMES
from tests.cluster.errors import ClusterError
from tests.cluster.paths import state_dir
from tests.cluster.settings import BRIDGE

CNI_RESULTS = Path("/var/lib/cni/results")
SHIM_SOCKETS = Path("/run/containerd/s")
CONTAINER_LOGS = Path("/var/log/containers")


@dataclass(frozen=True)
class Remains:
    """What is still there of the cluster; every field is empty when it is gone."""

    processes: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return one line for every kind of thing that is left."""
        return [f"{kind}: {', '.join(things)}" for kind, things in vars(self).items() if things]


def down() -> bool:
    """Stop and remove the cluster, from whatever state it is in. Return False when there was none.

    Raises ClusterError naming what is left, if anything is.
    """
    # Whatever is there of it now decides what was there before it.
    before = host.recall() or host.Before()
    if not remains(before).lines():
        return False
    # By force and all at once: nothing of what an orderly end would save is kept.
    cgroups.kill()
    _kill_strays()
    sockets = _shim_sockets()
    mounts.unmount_below(state_dir())
    network.remove_bridge()
    if _packet_filter_is_ours(before):
        iptables.remove(keep=before.chains)
    host.restore_sysctls(before)
    cgroups.remove()
    _remove_files(sockets)
    mounts.remove_tree(state_dir())
    _remove_directories(before)
    if left := remains(before).lines():
        raise ClusterError("this is left of the cluster:\n" + "\n".join(f"  {line}" for line in left))
    return True


def remains(before: host.Before) -> Remains:
    """Look at the host for everything that a cluster leaves."""
    own = cgroups.processes()
    return Remains(
        processes=tuple(_describe(pid) for pid in sorted(own | set(_naming(state_dir())))),
        mounts=tuple(str(point) for point in mounts.mounts_below(state_dir())),
        devices=(BRIDGE,) if network.bridge_exists() else (),
        chains=tuple(sorted(_chains_left(before))),
        cgroups=tuple(str(group) for group in cgroups.groups()),
        leases=tuple(str(path) for path in _leases()),
        paths=tuple(str(path) for path in [state_dir(), *_dangling_logs()] if path.exists() or path.is_symlink()),
    )


def chains_left(ours: Collection[str], foreign: Collection[str], before: Collection[str]) -> set[str]:
    """Return the packet filter's chains that are the cluster's.

    Kubernetes' and CNI's own were there before it, or are its own as long as ours stand beside them; without ours they
    are another's.
    """
    return set(ours) | (set(foreign) - set(before) if ours else set())


def _chains_left(before: host.Before) -> set[str]:
    ours = iptables.our_chains()
    return chains_left(ours, iptables.foreign_chains(), before.chains)


def _packet_filter_is_ours(before: host.Before) -> bool:
    return bool(_chains_left(before))


def _naming(directory: Path) -> Iterable[int]:
    """Return the processes whose command line names a path in the directory, but for this one and its ancestors."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        program = command.split(b"\0", 1)[0].rsplit(b"/", 1)[-1].decode(errors="replace")
        # A shell or an editor may well name the directory without being a part of the cluster.
        if f"{directory}/".encode() in command and (program in NAMES or program.startswith("containerd-shim")):
            yield int(path.parent.name)


def _kill_strays() -> None:
    """Kill processes of the cluster's that are in none of its groups, as when they died while they were started."""
    deadline = time.monotonic() + 10
    while strays := list(_naming(state_dir())):
        for pid in strays:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise ClusterError(f"these processes do not end: {strays}")
        time.sleep(0.05)


def _shim_sockets() -> list[Path]:
    """Return the sockets of containerd's shims; a killed shim leaves its own. Each bundle names one in `address`."""
    volatile = state_dir() / "run" / "containerd" / "io.containerd.runtime.v2.task"
    addresses = [path.read_text().strip() for path in volatile.glob("*/*/address")]
    return [Path(address.removeprefix("unix://")) for address in addresses]


def _remove_files(sockets: Iterable[Path]) -> None:
    for path in [*sockets, *_leases(), *_dangling_logs()]:
        path.unlink(missing_ok=True)


def _leases() -> list[Path]:
    """Return CNI's records of our network's pods: libcni keeps them at a place of its own."""
    return sorted(CNI_RESULTS.glob(f"{network.CNI_NETWORK}-*"))


def _dangling_logs() -> list[Path]:
    """Return the kubelet's links to our pods' logs."""
    links = CONTAINER_LOGS.iterdir() if CONTAINER_LOGS.is_dir() else iter(())
    return [link for link in links if link.is_symlink() and state_dir() in link.readlink().parents]


def _remove_directories(before: host.Before) -> None:
    """Remove the directories at fixed places that were not there before the cluster."""
    for directory in host.DIRECTORIES:
        if str(directory) not in before.directories:
            mounts.unmount_below(directory)
            mounts.remove_tree(directory)


def _describe(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        command = "just ended"
    return f"{pid} ({command[:60]})"
