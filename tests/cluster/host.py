"""What the cluster changes on the host outside its own directory, and the memory of how it was before.

Before the first change the present values are written down, so that `down` can put them back and tell what the cluster
brought from what was there already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.cluster import iptables
from tests.cluster.paths import state_dir

SYSCTL = Path("/proc/sys")

# Set by us (forwarding, bridges), by kube-proxy (route_localnet) and by the kubelet (the rest).
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)

# Directories that Kubernetes' and containerd's programs make at fixed places, whatever their flags say. Deepest first.
DIRECTORIES = tuple(
    Path(path)
    for path in (
        "/var/lib/kubelet",
        "/var/log/containers",
        "/var/log/pods",
        "/var/lib/cni/results",
        "/var/lib/cni",
        "/run/containerd/s",
        "/run/containerd",
        "/var/run/kubernetes",
        "/usr/libexec/kubernetes",
        "/opt/containerd",
        "/etc/cni",
    )
)


@dataclass(frozen=True)
class Before:
    """The host as it was before the cluster."""

    sysctls: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    """Of iptables, those with names like Kubernetes' or CNI's, each as FAMILY/TABLE/CHAIN."""


def _path() -> Path:
    return state_dir() / "host-before.json"


def remember() -> Before:
    """Return how the host was before the cluster; write it down unless an earlier, perhaps interrupted, `up` did."""
    known = recall()
    if known is not None:
        return known
    before = Before(
        sysctls={name: (SYSCTL / name).read_text().strip() for name in SYSCTLS if (SYSCTL / name).exists()},
        directories=tuple(str(directory) for directory in DIRECTORIES if directory.exists()),
        chains=tuple(sorted(iptables.foreign_chains())),
    )
    _path().parent.mkdir(parents=True, exist_ok=True)
    partial = _path().with_suffix(".partial")
    partial.write_text(json.dumps(asdict(before)))
    partial.replace(_path())
    return before


def recall() -> Before | None:
    """Return how the host was before the cluster, or None where there is no cluster to speak of."""
    try:
        document = json.loads(_path().read_text())
    except FileNotFoundError:
        return None
    return Before(document["sysctls"], tuple(document["directories"]), tuple(document["chains"]))


def set_sysctl(name: str, value: str) -> None:
    """Set a kernel setting, by its path under /proc/sys."""
    path = SYSCTL / name
    if path.read_text().strip() != value:
        path.write_text(value)


def restore_sysctls(before: Before) -> None:
    """Put the kernel settings back."""
    for name, value in before.sysctls.items():
        if (SYSCTL / name).exists():
            set_sysctl(name, value)
