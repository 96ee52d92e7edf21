"""The cluster's host processes: their command lines, ports and places."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import certs, configs
from tests.cluster.packages import SEARCH_PATH, program
from tests.cluster.paths import state_dir
from tests.cluster.settings import CLUSTER_DOMAIN, NODE, Settings
from tests.cluster.versions import Versions

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True)
class Component:
    """A process of the cluster's: what runs, where it listens and how it is configured."""

    name: str
    command: tuple[str, ...]
    ports: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": SEARCH_PATH, "HOME": "/root"})
    config: str = ""
    """What is in its configuration file."""

    @property
    def config_path(self) -> Path:
        """Return the path of its configuration file, if it has one."""
        return config_path(self.name)

    @property
    def digest(self) -> str:
        """Return what a running process is compared by: with another digest it is started again."""
        parts = [self.command, sorted(self.environment.items()), self.config]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


# In the order of their start.
NAMES = (
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "contour",
    "envoy",
)


def config_path(name: str) -> Path:
    """Return the path of a component's configuration file."""
    return state_dir() / "config" / f"{name}.conf"


def envoy_admin_socket() -> Path:
    """Return the socket of Envoy's administration interface."""
    return state_dir() / "run" / "envoy.sock"


def envoy_bootstrap() -> Path:
    """Return the path of Envoy's first configuration, which `contour bootstrap` writes; the rest comes from Contour."""
    return state_dir() / "config" / "envoy.json"


def audit_log() -> Path:
    """Return the path of the API server's record of who asked for what, a JSON object a line."""
    return state_dir() / "logs" / "audit.log"


def volumes_dir() -> Path:
    """Return the directory of the PersistentVolumes' data."""
    return state_dir() / "volumes"


def components(settings: Settings, versions: Versions) -> dict[str, Component]:
    """Return every component, by name."""
    made = [
        _containerd(versions),
        _etcd(settings, versions),
        _apiserver(settings, versions),
        _controller_manager(settings, versions),
        _scheduler(settings, versions),
        _proxy(settings, versions),
        _kubelet(settings, versions),
        _contour(settings, versions),
        _envoy(versions, settings),
    ]
    return {component.name: component for component in made}


def _containerd(versions: Versions) -> Component:
    proxies = {name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ}
    environment = {"PATH": SEARCH_PATH, "HOME": "/root", **proxies}
    command = (program("containerd"), "--config", str(config_path("containerd")))
    return Component("containerd", command, environment=environment, config=configs.containerd_config(versions))


def _etcd(settings: Settings, versions: Versions) -> Component:
    client = f"https://127.0.0.1:{settings.ports.etcd}"
    peer = f"http://127.0.0.1:{settings.ports.etcd_peer}"
    command = (
        str(versions.program("etcd")),
        "--name=modelyard",
        f"--data-dir={state_dir() / 'etcd'}",
        # The cluster is thrown away, so its database need not survive a power failure.
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=modelyard={peer}",
        f"--cert-file={certs.cert('etcd')}",
        f"--key-file={certs.key('etcd')}",
        f"--trusted-ca-file={certs.cert('etcd-ca')}",
        "--client-cert-auth",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=30m",
        "--log-level=warn",
    )
    return Component("etcd", command, (settings.ports.etcd, settings.ports.etcd_peer))


# MutatingAdmissionPolicy, in beta and off by default in this Kubernetes: the chart's policy of who edited a stage.
MUTATING_POLICIES = (
    "--feature-gates=MutatingAdmissionPolicy=true",
    "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
)


def _apiserver(settings: Settings, versions: Versions) -> Component:
    command = (
        str(versions.program("kubernetes", "kube-apiserver")),
        f"--secure-port={settings.ports.apiserver}",
        f"--advertise-address={settings.node_ip}",
        f"--service-cluster-ip-range={settings.service_cidr}",
        f"--cert-dir={state_dir() / 'apiserver'}",
        f"--tls-cert-file={certs.cert('apiserver')}",
        f"--tls-private-key-file={certs.key('apiserver')}",
        f"--client-ca-file={certs.cert('ca')}",
        f"--etcd-servers=https://127.0.0.1:{settings.ports.etcd}",
        f"--etcd-cafile={certs.cert('etcd-ca')}",
        f"--etcd-certfile={certs.cert('apiserver-etcd-client')}",
        f"--etcd-keyfile={certs.key('apiserver-etcd-client')}",
        f"--kubelet-certificate-authority={certs.cert('ca')}",
        f"--kubelet-client-certificate={certs.cert('apiserver-kubelet-client')}",
        f"--kubelet-client-key={certs.key('apiserver-kubelet-client')}",
        # The node's name means nothing to the host's resolver.
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={certs.directory() / 'service-account.pub'}",
        f"--service-account-signing-key-file={certs.key('service-account')}",
        f"--requestheader-client-ca-file={certs.cert('front-proxy-ca')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={certs.cert('front-proxy-client')}",
        f"--proxy-client-key-file={certs.key('front-proxy-client')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        *MUTATING_POLICIES,
        "--allow-privileged=true",
        "--profiling=false",
        f"--audit-policy-file={config_path('kube-apiserver')}",
        f"--audit-log-path={audit_log()}",
    )
    policy = json.dumps(configs.audit_policy())
    return Component("kube-apiserver", command, (settings.ports.apiserver,), config=policy)


def _controller_manager(settings: Settings, versions: Versions) -> Component:
    command = (
        str(versions.program("kubernetes", "kube-controller-manager")),
        f"--kubeconfig={certs.client_config('controller-manager')}",
        f"--secure-port={settings.ports.controller_manager}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={state_dir() / 'controller-manager'}",
        f"--cluster-cidr={settings.pod_cidr}",
        f"--service-cluster-ip-range={settings.service_cidr}",
        f"--root-ca-file={certs.cert('ca')}",
        f"--cluster-signing-cert-file={certs.cert('ca')}",
        f"--cluster-signing-key-file={certs.key('ca')}",
        f"--service-account-private-key-file={certs.key('service-account')}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--profiling=false",
    )
    return Component("kube-controller-manager", command, (settings.ports.controller_manager,))


def _scheduler(settings: Settings, versions: Versions) -> Component:
    command = (
        str(versions.program("kubernetes", "kube-scheduler")),
        f"--kubeconfig={certs.client_config('scheduler')}",
        f"--secure-port={settings.ports.scheduler}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={state_dir() / 'scheduler'}",
        "--leader-elect=false",
        "--profiling=false",
    )
    return Component("kube-scheduler", command, (settings.ports.scheduler,))


def _proxy(settings: Settings, versions: Versions) -> Component:
    command = (
        str(versions.program("kubernetes", "kube-proxy")),
        f"--config={config_path('kube-proxy')}",
        f"--hostname-override={NODE}",
    )
    ports = (settings.ports.proxy_health, settings.ports.proxy_metrics)
    return Component("kube-proxy", command, ports, config=json.dumps(configs.proxy_config(settings)))


def _kubelet(settings: Settings, versions: Versions) -> Component:
    command = (
        str(versions.program("kubernetes", "kubelet")),
        f"--config={config_path('kubelet')}",
        f"--kubeconfig={certs.client_config('kubelet')}",
        f"--root-dir={state_dir() / 'kubelet'}",
        f"--cert-dir={state_dir() / 'kubelet' / 'pki'}",
        f"--hostname-override={NODE}",
        f"--node-ip={settings.node_ip}",
    )
    ports = (settings.ports.kubelet, settings.ports.kubelet_health)
    return Component("kubelet", command, ports, config=json.dumps(configs.kubelet_config(settings)))


def _contour(settings: Settings, versions: Versions) -> Component:
    ports = settings.ports
    command = (
        str(versions.program("contour")),
        "serve",
        f"--kubeconfig={certs.client_config('contour')}",
        f"--config-path={config_path('contour')}",
        # Envoy is on the same host: the configuration travels over the loopback device only.
        "--insecure",
        "--xds-address=127.0.0.1",
        f"--xds-port={ports.contour_xds}",
        "--http-address=127.0.0.1",
        f"--http-port={ports.contour_metrics}",
        "--health-address=127.0.0.1",
        f"--health-port={ports.contour_metrics}",
        "--debug-http-address=127.0.0.1",
        f"--debug-http-port={ports.contour_debug}",
        "--stats-address=127.0.0.1",
        f"--stats-port={ports.envoy_metrics}",
        "--ingress-status-address=127.0.0.1",
        "--disable-leader-election",
    )
    listens = (ports.contour_xds, ports.contour_metrics, ports.contour_debug)
    return Component("contour", command, listens, config=json.dumps(configs.contour_config()))


def _envoy(versions: Versions, settings: Settings) -> Component:
    command = (
        str(versions.program("envoy")),
        "--config-path",
        str(envoy_bootstrap()),
        "--service-cluster",
        "projectcontour",
        "--service-node",
        NODE,
        # Hot restart's shared memory is one for the whole host, and another Envoy may have it.
        "--disable-hot-restart",
        "--log-level",
        "warning",
    )
    return Component("envoy", command, (settings.ports.envoy_http, settings.ports.envoy_metrics))
