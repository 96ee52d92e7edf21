"""The pods' network: a bridge that also carries the node's address, CNI's configuration, and the name servers."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.cluster import host, iptables
from tests.cluster.errors import ClusterError
from tests.cluster.packages import find_program, program
from tests.cluster.paths import state_dir
from tests.cluster.settings import BRIDGE, Settings

CNI_NETWORK = "modelyard"


def cni_config_dir() -> Path:
    """Return the directory of CNI's configuration."""
    return state_dir() / "cni"


def resolv_conf() -> Path:
    """Return the resolver configuration that the pods of the node's own DNS policy get, CoreDNS among them."""
    return state_dir() / "resolv.conf"


def check_free(settings: Settings) -> None:
    """Raise ClusterError where the host cannot take this network: its ranges are routed elsewhere, or another
    Kubernetes' rules are in the packet filter."""
    if iptables.our_chains() or bridge_exists():
        return
    if overlapping := overlaps(settings, _routes()):
        raise ClusterError(f"{overlapping}; choose others with MODELYARD_POD_CIDR and MODELYARD_SERVICE_CIDR")
    if "iptables/nat/KUBE-SERVICES" in iptables.foreign_chains():
        raise ClusterError(
            "another Kubernetes runs on this host: its KUBE-SERVICES chain is in the packet filter, and the two would "
            "undo each other's rules. Use it (export KUBECONFIG=...) or stop it."
        )


def overlaps(settings: Settings, routes: Iterable[dict[str, Any]]) -> str:
    """Say which of the cluster's ranges a route of the host (as `ip -json route` shows them) takes, or nothing."""
    for route in routes:
        if route["dst"] == "default":
            continue
        network = ipaddress.ip_network(route["dst"], strict=False)
        for name, own in (("pods", settings.pod_cidr), ("services", settings.service_cidr)):
            if network.overlaps(own):
                return f"the {name}' range {own} overlaps the host's route {network} on {route.get('dev', '?')}"
    return ""


def ensure(settings: Settings) -> None:
    """Make the network, or what is missing of it."""
    if not (host.SYSCTL / "net/bridge").exists() and (modprobe := find_program("modprobe")):
        subprocess.run([modprobe, "br_netfilter"], capture_output=True, check=False)
    if not (host.SYSCTL / "net/bridge").exists():
        raise ClusterError("the kernel lacks br_netfilter, which Services between pods of one node need")
    host.set_sysctl("net/ipv4/ip_forward", "1")
    host.set_sysctl("net/bridge/bridge-nf-call-iptables", "1")
    if not bridge_exists():
        _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "replace", f"{settings.node_ip}/{settings.pod_cidr.prefixlen}", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    iptables.ensure(settings)
    _write_cni_config(settings)
    resolv_conf().write_text(upstreams(_resolver_files()))


def remove_bridge() -> None:
    """Remove the bridge; the pods' ends of it went with their network namespaces."""
    if bridge_exists():
        _ip("link", "delete", BRIDGE)


def bridge_exists() -> bool:
    """Tell whether the bridge is there."""
    return Path("/sys/class/net", BRIDGE).exists()


def upstreams(files: Iterable[str]) -> str:
    """Return the resolver configuration for pods, from the first of the host's that names a server pods can reach.

    A name server on the loopback device (systemd-resolved, dnsmasq) is the host's alone: in a pod that address is the
    pod itself, and CoreDNS would forward to itself. Without any other server the answer has none.
    """
    for text in files:
        lines = [line.split() for line in text.splitlines()]
        servers = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
        reachable = [server for server in servers if not ipaddress.ip_address(server.split("%")[0]).is_loopback]
        if reachable:
            return "".join(f"nameserver {server}\n" for server in reachable)
    return ""


def _resolver_files() -> Iterable[str]:
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists():
            yield path.read_text()


def _write_cni_config(settings: Settings) -> None:
    config = {
        "cniVersion": "0.4.0",
        "name": CNI_NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(state_dir() / "cni-leases"),
                    "ranges": [[{"subnet": str(settings.pod_cidr), "gateway": settings.node_ip}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    cni_config_dir().mkdir(parents=True, exist_ok=True)
    (cni_config_dir() / "10-modelyard.conflist").write_text(json.dumps(config, indent=2))


def _routes() -> list[dict[str, Any]]:
    done = subprocess.run([program("ip"), "-json", "-4", "route"], capture_output=True, text=True, check=True)
    routes: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return routes


def _ip(*arguments: str) -> None:
    done = subprocess.run([program("ip"), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
