"""metrics-server, for those who want it: the pods' CPU and memory, by which HorizontalPodAutoscalers go."""

from __future__ import annotations

import socket

from tests.cluster import addons, certs, cgroups
from tests.cluster.build import ensure
from tests.cluster.components import Component
from tests.cluster.paths import state_dir
from tests.cluster.settings import Settings
from tests.cluster.supervision import ensure_running, wait_until
from tests.cluster.versions import Versions

NAME = "metrics-server"
FIRST_METRICS_SECONDS = 90.0
"""It needs two looks at a pod for its CPU, and the kubelet looks every ten seconds or so itself."""


def start(settings: Settings, versions: Versions) -> None:
    """Run it beside a cluster that is up, unless it runs, and wait until the API has the node's figures.

    Raises ClusterError when it does not come to that. It ends with the cluster.
    """
    ensure(versions.components[NAME], versions.toolchain)
    address = (settings.node_ip, settings.ports.metrics_server)
    ensure_running(component(settings, versions), lambda: _listens(address), cgroups.ensure())
    addons.apply_metrics(settings, versions)
    wait_until(NAME, lambda: addons.node_has_metrics(versions), FIRST_METRICS_SECONDS)


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True


def component(settings: Settings, versions: Versions) -> Component:
    """Return the process. It is reached through the API server only, which vouches for who asks."""
    config = certs.client_config("admin")
    command = (
        str(versions.program(NAME)),
        f"--bind-address={settings.node_ip}",
        f"--secure-port={settings.ports.metrics_server}",
        f"--cert-dir={state_dir() / NAME}",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--kubelet-certificate-authority={certs.cert('ca')}",
        "--kubelet-preferred-address-types=InternalIP",
        "--kubelet-use-node-status-port",
        # The shortest that it takes; a kubelet has to answer sooner.
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    )
    return Component(NAME, command, (settings.ports.metrics_server,))
