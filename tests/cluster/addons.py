"""What runs in the cluster from the start: DNS, storage, and the objects of Ingress and Gateway API."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from string import Template

from tests.cluster import archive, certs, containerd, network
from tests.cluster.components import volumes_dir
from tests.cluster.errors import ClusterError
from tests.cluster.paths import HERE, state_dir
from tests.cluster.settings import CLUSTER_DOMAIN, NODE, Settings
from tests.cluster.versions import Versions

MANIFESTS = HERE / "manifests"
READY_HOST = "ready.modelyard.internal"

# Contour adds this to the port of a Gateway's listener and has Envoy listen there (internal/gatewayapi/listeners.go).
CONTOUR_PORT_OFFSET = 8000


def load_images(versions: Versions) -> None:
    """Import the images of the add-ons, and the sandbox's, unless they are there."""
    for image in archive.images(versions):
        if not all(containerd.image_present(ref) for ref in (image.ref, *image.aliases)):
            containerd.load_image(image.archive)


def apply_dns_and_storage(settings: Settings, versions: Versions) -> None:
    """Apply DNS and storage."""
    _apply(versions, render(settings, versions, ("coredns.yaml", "storage.yaml")))


def apply_ingress_kinds(settings: Settings, versions: Versions) -> None:
    """Apply the kinds of Contour and of the Gateway API, and the rights to read them; wait until they are served."""
    files = [versions.components["contour"].home() / file for file in versions.components["contour"].files]
    own = render(settings, versions, ("ingress-rbac.yaml",))
    _apply(versions, "\n---\n".join([own, *(file.read_text() for file in files)]))
    _kubectl(versions, "wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinitions", "--all")


def apply_ingress(settings: Settings, versions: Versions) -> None:
    """Apply the default IngressClass and the Gateway."""
    _apply(versions, render(settings, versions, ("ingress.yaml",)))


def apply_metrics(settings: Settings, versions: Versions) -> None:
    """Put metrics-server, which runs on the host, behind the API server."""
    _apply(versions, render(settings, versions, ("metrics-server.yaml",)))


def node_has_metrics(versions: Versions) -> bool:
    """Tell whether the API server has figures of the node's CPU and memory."""
    try:
        _kubectl(versions, "get", "--raw", f"/apis/metrics.k8s.io/v1beta1/nodes/{NODE}")
    except ClusterError:
        return False
    return True


def render(settings: Settings, versions: Versions, names: Iterable[str]) -> str:
    """Return the manifests of these names as one YAML stream, with this machine's addresses and images."""
    values = _values(settings, versions)
    return "\n---\n".join(Template((MANIFESTS / name).read_text()).substitute(values) for name in names)


def all_manifests(settings: Settings, versions: Versions) -> str:
    """Return every manifest of ours as one YAML stream."""
    return render(settings, versions, sorted(path.name for path in MANIFESTS.glob("*.yaml")))


def node_and_dns_ready(versions: Versions) -> bool:
    """Tell whether the node is Ready and CoreDNS and the volume provisioner are available."""
    listing = _kubectl(versions, "get", "nodes,deployments", "--all-namespaces", "--output=json")
    found = {(item["kind"], item["metadata"]["name"]): item for item in json.loads(listing)["items"]}
    wanted = {
        ("Node", NODE): "Ready",
        ("Deployment", "coredns"): "Available",
        ("Deployment", "local-path-provisioner"): "Available",
    }
    return all(_has_condition(found.get(key), condition) for key, condition in wanted.items())


def _has_condition(item: Mapping[str, Mapping[str, object]] | None, condition: str) -> bool:
    if item is None:
        return False
    conditions = item.get("status", {}).get("conditions", [])
    assert isinstance(conditions, list)
    return any(entry["type"] == condition and entry["status"] == "True" for entry in conditions)


def _values(settings: Settings, versions: Versions) -> dict[str, object]:
    refs = {f"{image.name.replace('-', '_')}_image": image.ref for image in archive.images(versions)}
    resolvers = network.resolv_conf().read_text() if network.resolv_conf().exists() else ""
    return {
        **refs,
        "cluster_domain": CLUSTER_DOMAIN,
        "dns_ip": settings.dns_ip,
        # CoreDNS refuses to start with a forwarder that has nowhere to forward to.
        "forward": "forward . /etc/resolv.conf" if resolvers else "",
        "volumes_dir": volumes_dir(),
        "gateway_port": settings.ports.envoy_http - CONTOUR_PORT_OFFSET,
        "ready_host": READY_HOST,
        "node_ip": settings.node_ip,
        "metrics_port": settings.ports.metrics_server,
    }


def _apply(versions: Versions, text: str) -> None:
    options = ["--server-side", "--force-conflicts", "--field-manager=modelyard-cluster"]
    _kubectl(versions, "apply", *options, "--filename=-", text=text)


def _kubectl(versions: Versions, *arguments: str, text: str = "") -> str:
    # kubectl's cache of the kinds that there are is a part of this cluster's state, not of the user's home.
    kubectl = [str(versions.program("kubernetes", "kubectl")), f"--cache-dir={state_dir() / 'kubectl-cache'}"]
    command = [*kubectl, f"--kubeconfig={certs.client_config('admin')}", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"kubectl {arguments[0]} failed:\n{done.stderr.strip()}")
    return done.stdout
