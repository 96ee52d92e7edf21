"""The contents of the components' configuration files."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster import certs, containerd, network
from tests.cluster.archive import images
from tests.cluster.packages import cni_directory, program
from tests.cluster.paths import state_dir
from tests.cluster.settings import CGROUP, CLUSTER_DOMAIN, Settings
from tests.cluster.versions import Versions


def containerd_config(versions: Versions) -> str:
    """Return containerd's configuration: nothing of it outside the state directory."""
    pause = next(image for image in images(versions) if image.name == "pause")
    cri = "io.containerd.grpc.v1.cri"
    sections: dict[str, dict[str, Any]] = {
        "": {
            "version": 2,
            "root": str(state_dir() / "containerd"),
            "state": str(containerd.volatile_dir()),
            # opt would make /opt/containerd; the others are snapshotters that log errors where their tools lack.
            "disabled_plugins": [
                "io.containerd.internal.v1.opt",
                *(f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")),
            ],
        },
        "grpc": {"address": str(containerd.socket())},
        "ttrpc": {"address": f"{containerd.socket()}.ttrpc"},
        f'plugins."{cri}"': {
            "sandbox_image": pause.ref,
            # Without CAP_SYS_RESOURCE nobody may lower a process's score, and no sandbox would start.
            "restrict_oom_score_adj": True,
            "netns_mounts_under_state_dir": True,
        },
        f'plugins."{cri}".cni': {"bin_dir": str(cni_directory()), "conf_dir": str(network.cni_config_dir())},
        f'plugins."{cri}".containerd': {"snapshotter": "overlayfs", "default_runtime_name": "runc"},
        f'plugins."{cri}".containerd.runtimes.runc': {"runtime_type": "io.containerd.runc.v2"},
        f'plugins."{cri}".containerd.runtimes.runc.options': {
            "SystemdCgroup": False,
            "BinaryName": program("runc"),
            "Root": str(state_dir() / "run" / "runc"),
        },
    }
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]"] if section else []
        # JSON's strings, numbers, booleans and lists of strings are TOML's too.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def kubelet_config(settings: Settings) -> dict[str, Any]:
    """Return the KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "port": settings.ports.kubelet,
        "healthzPort": settings.ports.kubelet_health,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": certs.cert("ca")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": certs.cert("kubelet"),
        "tlsPrivateKeyFile": certs.key("kubelet"),
        "containerRuntimeEndpoint": f"unix://{containerd.socket()}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "failCgroupV1": False,
        "clusterDNS": [settings.dns_ip],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(network.resolv_conf()),
        "podLogsDir": str(state_dir() / "pod-logs"),
        "volumePluginDir": str(state_dir() / "kubelet-plugins"),
        "maxPods": 110,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        # The host's disk is not the cluster's to tidy, and there is no registry to get a deleted image from again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # Pods of a test cluster come and go in bursts.
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "eventRecordQPS": 0,
    }


def proxy_config(settings: Settings) -> dict[str, Any]:
    """Return the KubeProxyConfiguration."""
    keep = "0s"
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": certs.client_config("proxy")},
        "mode": "iptables",
        "clusterCIDR": str(settings.pod_cidr),
        "healthzBindAddress": f"127.0.0.1:{settings.ports.proxy_health}",
        "metricsBindAddress": f"127.0.0.1:{settings.ports.proxy_metrics}",
        # NodePorts answer on the loopback device too.
        "iptables": {"localhostNodePorts": True, "minSyncPeriod": "100ms"},
        # The host's connection tracking stays as it is.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": keep, "tcpCloseWaitTimeout": keep},
    }


def contour_config() -> dict[str, Any]:
    """Return Contour's configuration: Ingresses, and the routes of the one Gateway."""
    return {"gateway": {"gatewayRef": {"namespace": "projectcontour", "name": "modelyard"}}}


def audit_policy() -> dict[str, Any]:
    """Return the API server's audit policy: service accounts' requests, without their bodies.

    The tests count with it what the operator writes.
    """
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
    }
