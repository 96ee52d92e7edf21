"""Starts the cluster, or what is missing of it."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.cluster import addons, certs, cgroups, containerd, host, mounts, network, processes
from tests.cluster.components import (
    NAMES,
    Component,
    components,
    envoy_admin_socket,
    envoy_bootstrap,
    volumes_dir,
)
from tests.cluster.errors import ClusterError
from tests.cluster.paths import kubeconfig, state_dir
from tests.cluster.settings import Settings
from tests.cluster.steps import Step, run_steps
from tests.cluster.supervision import ensure_running, wait_until
from tests.cluster.versions import Versions

# A path of a Unix socket has at most 107 characters (unix(7)); containerd's is the longest of ours.
LONGEST_STATE_DIR = 107 - len("/run/containerd.sock.ttrpc")


def up(settings: Settings, versions: Versions) -> bool:
    """Bring the cluster to its full state, from whatever is there. Return False when nothing was missing.

    Raises ClusterError when something does not start; what has started stays, and the next `up` goes on from there.
    """
    if len(str(state_dir())) > LONGEST_STATE_DIR:
        raise ClusterError(f"{state_dir()} is too long a path for sockets; choose another with MODELYARD_STATE")
    if _complete(settings, versions):
        return False
    network.check_free(settings)
    _check_same_ranges(settings)
    _Start(settings, versions).run()
    _fingerprint_path().write_text(_fingerprint(settings, versions))
    return True


class _Start:
    """One run of all the steps."""

    def __init__(self, settings: Settings, versions: Versions) -> None:
        self.settings = settings
        self.versions = versions
        self.begun = time.monotonic()
        self.cgroup = Path()
        self.components: dict[str, Component] = {}
        self.printing = threading.Lock()

    def run(self) -> None:
        self._prepare()
        self.components = components(self.settings, self.versions)
        process = self._process
        apiserver = self._apiserver_ready
        run_steps(
            [
                process("containerd", self._containerd_ready),
                process("etcd", self._etcd_ready),
                process("kube-apiserver", apiserver, after=("etcd",)),
                process("kube-controller-manager", self._secure("controller_manager"), after=("kube-apiserver",)),
                process("kube-scheduler", self._secure("scheduler"), after=("kube-apiserver",)),
                process("kube-proxy", self._plain("proxy_health", "/livez"), after=("kube-apiserver",)),
                process("kubelet", self._plain("kubelet_health", "/healthz"), after=("kube-apiserver", "containerd")),
                self._step("images", lambda: addons.load_images(self.versions), after=("containerd",)),
                self._addon("DNS and storage", addons.apply_dns_and_storage, after=("kube-apiserver", "images")),
                self._addon("Ingress and Gateway kinds", addons.apply_ingress_kinds, after=("kube-apiserver",)),
                self._addon("Ingress and Gateway", addons.apply_ingress, after=("Ingress and Gateway kinds",)),
                process("contour", self._plain("contour_metrics", "/healthz"), after=("Ingress and Gateway",)),
                process("envoy", self._ingress_ready, after=("contour",)),
                self._step("node, DNS and storage ready", self._wait_ready, after=("kubelet", "DNS and storage")),
            ]
        )
        certs.publish_admin()

    def _prepare(self) -> None:
        state_dir().mkdir(parents=True, exist_ok=True)
        _ranges_path().write_text(_ranges(self.settings))
        host.remember()
        self._clear_stale()
        network.ensure(self.settings)
        self.cgroup = cgroups.ensure()
        certs.ensure(self.settings)
        volumes_dir().mkdir(exist_ok=True)
        containerd.socket().parent.mkdir(exist_ok=True)
        self._write_envoy_bootstrap()

    def _clear_stale(self) -> None:
        """Remove containerd's record of running containers after a reboot, which would have cleared /run too."""
        boot = state_dir() / "boot-id"
        if boot.exists() and boot.read_text() != processes.boot_id():
            mounts.unmount_below(containerd.volatile_dir())
            mounts.remove_tree(containerd.volatile_dir())
            mounts.remove_tree(containerd.socket().parent / "runc")
        boot.write_text(processes.boot_id())

    def _write_envoy_bootstrap(self) -> None:
        envoy_bootstrap().parent.mkdir(exist_ok=True)
        addresses = ["--xds-address=127.0.0.1", f"--xds-port={self.settings.ports.contour_xds}"]
        command = [str(self.versions.program("contour")), "bootstrap", str(envoy_bootstrap()), *addresses]
        command.append(f"--admin-address={envoy_admin_socket()}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"contour bootstrap failed:\n{done.stderr.strip()}")

    def _step(self, name: str, run: Callable[[], None], after: tuple[str, ...] = ()) -> Step:
        def timed() -> None:
            started = time.monotonic()
            run()
            now = time.monotonic()
            with self.printing:
                print(f"  {now - self.begun:5.1f} s  {name} ({now - started:.1f} s)", flush=True)

        return Step(name, timed, after)

    def _process(self, name: str, ready: Callable[[], bool], after: tuple[str, ...] = ()) -> Step:
        return self._step(name, lambda: ensure_running(self.components[name], ready, self.cgroup), after)

    def _addon(self, name: str, apply: Callable[[Settings, Versions], None], after: tuple[str, ...]) -> Step:
        return self._step(name, lambda: apply(self.settings, self.versions), after)

    def _wait_ready(self) -> None:
        wait_until("node, DNS and storage", lambda: addons.node_and_dns_ready(self.versions), 90)

    def _containerd_ready(self) -> bool:
        return containerd.responds()

    def _etcd_ready(self) -> bool:
        context = ssl.create_default_context(cafile=certs.cert("etcd-ca"))
        context.load_cert_chain(certs.cert("apiserver-etcd-client"), certs.key("apiserver-etcd-client"))
        return _status(f"https://127.0.0.1:{self.settings.ports.etcd}/health", context) == 200

    def _apiserver_ready(self) -> bool:
        return apiserver_ready(self.settings)

    def _secure(self, port: str) -> Callable[[], bool]:
        # These serve with a certificate that they signed themselves, and say nothing here but "ok".
        context = ssl._create_unverified_context()
        return lambda: _status(f"https://127.0.0.1:{getattr(self.settings.ports, port)}/healthz", context) == 200

    def _plain(self, port: str, path: str) -> Callable[[], bool]:
        return lambda: _status(f"http://127.0.0.1:{getattr(self.settings.ports, port)}{path}") == 200

    def _ingress_ready(self) -> bool:
        return ingress_ready(self.settings)


def apiserver_ready(settings: Settings) -> bool:
    """Tell whether the API server serves, its own roles and priorities included."""
    context = ssl.create_default_context(cafile=certs.cert("ca"))
    return _status(f"https://127.0.0.1:{settings.ports.apiserver}/readyz", context) == 200


def ingress_ready(settings: Settings) -> bool:
    """Tell whether Envoy answers as Contour told it to."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.ports.envoy_http, timeout=2)
    try:
        connection.request("GET", "/", headers={"Host": addons.READY_HOST})
        return connection.getresponse().status == 302
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _status(url: str, context: ssl.SSLContext | None = None) -> int:
    """Return the HTTP status of a GET, 0 where nothing answers; never through a proxy."""
    handlers = [urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else [])]
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return 0


def _complete(settings: Settings, versions: Versions) -> bool:
    """Tell whether an earlier `up` came to its end, with this very configuration, and all of it still runs."""
    path = _fingerprint_path()
    if not path.exists() or not kubeconfig().exists() or path.read_text() != _fingerprint(settings, versions):
        return False
    if not all(processes.running(name) for name in NAMES) or not network.bridge_exists():
        return False
    return apiserver_ready(settings) and ingress_ready(settings) and addons.node_and_dns_ready(versions)


def _fingerprint_path() -> Path:
    return state_dir() / "complete"


def _fingerprint(settings: Settings, versions: Versions) -> str:
    digests = {name: component.digest for name, component in components(settings, versions).items()}
    manifests = addons.all_manifests(settings, versions)
    return hashlib.sha256(json.dumps([digests, manifests], sort_keys=True).encode()).hexdigest()


def _ranges_path() -> Path:
    return state_dir() / "ranges"


def _ranges(settings: Settings) -> str:
    return f"{settings.pod_cidr} {settings.service_cidr}"


def _check_same_ranges(settings: Settings) -> None:
    if _ranges_path().exists() and _ranges_path().read_text() != _ranges(settings):
        raise ClusterError(
            f"the cluster was made with the ranges {_ranges_path().read_text()} and cannot change to "
            f"{_ranges(settings)}: run `down` first"
        )
