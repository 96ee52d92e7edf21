"""The commands."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster import containerd, metrics, processes, teardown
from tests.cluster.build import build_all, interrupted
from tests.cluster.components import NAMES, audit_log
from tests.cluster.errors import ClusterError
from tests.cluster.images import values_file
from tests.cluster.locks import exclusive
from tests.cluster.packages import ensure_packages, missing_gitops_packages
from tests.cluster.paths import bin_dir, kubeconfig
from tests.cluster.settings import TRACKING_PORT, from_environment
from tests.cluster.up import up
from tests.cluster.versions import load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 1 for what the user can act on, with a message and no traceback."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster", description="The project's local Kubernetes.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, description) in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description)
        if name == "load":
            command.add_argument("archives", metavar="ARCHIVE", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    interrupted()
    try:
        COMMANDS[options.command][0](options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def external_kubeconfig(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the kubeconfig of a cluster that the user brings, else None.

    KUBECONFIG names one, unless it is the local cluster's own, as after `env`, or MODELYARD_CLUSTER is `local`.
    """
    given = environment.get("KUBECONFIG")
    if not given or environment.get("MODELYARD_CLUSTER") == "local":
        return None
    return None if Path(given).absolute() == kubeconfig() else given


def environment_lines(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the shell commands that make a shell use the cluster."""
    external = external_kubeconfig(environment)
    path = environment.get("PATH", "")
    directories = path.split(os.pathsep)
    if directories[0] != str(bin_dir()):
        path = os.pathsep.join([str(bin_dir()), *directories])
    values = {"KUBECONFIG": external or str(kubeconfig()), "PATH": path}
    if external is None:
        values["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{TRACKING_PORT}"
        values["MODELYARD_AUDIT_LOG"] = str(audit_log())
        values["MODELYARD_IMAGES_VALUES"] = str(values_file())
    elif tracking := environment.get("MLFLOW_TRACKING_URI"):
        values["MLFLOW_TRACKING_URI"] = tracking
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items()]


def _build(_: argparse.Namespace) -> None:
    ensure_packages()
    ensure_packages(missing_gitops_packages)
    build_all(load())


def _up(_: argparse.Namespace) -> None:
    if external := external_kubeconfig():
        _check_reachable(external)
        print(f"using the cluster of KUBECONFIG={external}; nothing is started (MODELYARD_CLUSTER=local would)")
        return
    _require_root()
    begun = time.monotonic()
    ensure_packages()
    build_all(load(), optional=False)
    with exclusive("cluster"):
        started = up(from_environment(), load())
    state = f"up after {time.monotonic() - begun:.1f} s" if started else "up already"
    print(f'the cluster is {state}; to use it: eval "$(make -s env)"')


def _down(_: argparse.Namespace) -> None:
    if external := external_kubeconfig():
        print(f"KUBECONFIG={external} is a cluster of your own; nothing is stopped (MODELYARD_CLUSTER=local would)")
        return
    _require_root()
    with exclusive("cluster"):
        existed = teardown.down()
    print("the cluster is down and nothing of it is left" if existed else "there is no cluster")


def _env(_: argparse.Namespace) -> None:
    print("\n".join(environment_lines()))


def _status(_: argparse.Namespace) -> None:
    print(f"{'COMPONENT':<26}{'PID':<10}{'STATE':<8}LOG")
    optional = [name for name in (metrics.NAME,) if processes.running(name)]
    for name in (*NAMES, *optional):
        record = processes.running(name)
        print(f"{name:<26}{record.pid if record else '-':<10}{'up' if record else 'down':<8}{processes.log_path(name)}")


def _metrics(_: argparse.Namespace) -> None:
    if external := external_kubeconfig():
        raise ClusterError(
            f"KUBECONFIG={external} is a cluster of your own: install metrics-server as it is done there"
        )
    _require_root()
    if not kubeconfig().exists():
        raise ClusterError("there is no cluster: run `up` first")
    with exclusive("cluster"):
        metrics.start(from_environment(), load())
    print("the cluster has metrics of pods and nodes: kubectl top pods")


def _load(options: argparse.Namespace) -> None:
    for archive in options.archives:
        if not archive.is_file():
            raise ClusterError(f"{archive} is not a file")
        try:
            containerd.load_image(archive.absolute())
        except RuntimeError as error:
            raise ClusterError(str(error)) from error


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError("a local cluster needs root: run this as root, or give KUBECONFIG to use a cluster you have")


def _check_reachable(config: str) -> None:
    command = ["kubectl", "--request-timeout=10s", "get", "--raw", "/readyz"]
    path = f"{bin_dir()}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        environment = {**os.environ, "KUBECONFIG": config, "PATH": path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError("kubectl is not installed; `build` brings one") from error
    if done.returncode != 0:
        raise ClusterError(f"the cluster of KUBECONFIG={config} does not answer:\n{done.stderr.strip()}")


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], str]] = {
    "build": (_build, "obtain every component, and what only some tests need, into the cache"),
    "up": (_up, "start the cluster, or what is missing of it"),
    "down": (_down, "stop the cluster and remove all of it but the cache"),
    "env": (_env, "print the shell commands that make a shell use the cluster"),
    "status": (_status, "list the cluster's processes"),
    "metrics": (_metrics, "start metrics-server too, by which autoscalers go"),
    "load": (_load, "import images from docker-archive tars"),
}
