"""What can differ between machines: address ranges, ports and names."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass

from tests.cluster.errors import ClusterError

NODE = "modelyard"
BRIDGE = "modelyard0"
CGROUP = "modelyard"
CLUSTER_DOMAIN = "cluster.local"
TRACKING_PORT = 30500


@dataclass(frozen=True)
class Ports:
    """The TCP ports that the cluster's processes listen on, on the host: away from every program's usual ones."""

    apiserver: int = 16443
    etcd: int = 12379
    etcd_peer: int = 12380
    controller_manager: int = 16257
    scheduler: int = 16259
    kubelet: int = 16250
    kubelet_health: int = 16248
    proxy_health: int = 16256
    proxy_metrics: int = 16249
    contour_xds: int = 18001
    contour_metrics: int = 18000
    contour_debug: int = 16060
    envoy_http: int = 18080
    envoy_metrics: int = 18002
    metrics_server: int = 16251


@dataclass(frozen=True)
class Settings:
    """The cluster's addresses."""

    pod_cidr: ipaddress.IPv4Network
    service_cidr: ipaddress.IPv4Network
    ports: Ports = Ports()

    @property
    def node_ip(self) -> str:
        """Return the node's address: the bridge's own, so that it is the same on every network and on none."""
        return str(self.pod_cidr[1])

    @property
    def apiserver_service_ip(self) -> str:
        """Return the address of the Service `kubernetes`, always the first of its range."""
        return str(self.service_cidr[1])

    @property
    def dns_ip(self) -> str:
        """Return the address of the cluster's DNS Service."""
        return str(self.service_cidr[10])


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings: MODELYARD_POD_CIDR and MODELYARD_SERVICE_CIDR, else 10.244.0.0/24 and 10.96.0.0/16.

    Raises ClusterError for a range that is no IPv4 network, that is too small, or that overlaps the other one.
    """
    pods = _network(environment, "MODELYARD_POD_CIDR", "10.244.0.0/24")
    services = _network(environment, "MODELYARD_SERVICE_CIDR", "10.96.0.0/16")
    if pods.overlaps(services):
        raise ClusterError(f"the pods' range {pods} and the services' range {services} overlap")
    return Settings(pods, services)


def _network(environment: Mapping[str, str], variable: str, default: str) -> ipaddress.IPv4Network:
    text = environment.get(variable) or default
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ClusterError(f"{variable}: {error}") from error
    if network.prefixlen > 24:
        raise ClusterError(f"{variable}: {network} is smaller than a /24")
    return network
