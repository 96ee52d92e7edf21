"""The cluster's own containerd: its paths, and the images in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster.paths import state_dir

NAMESPACE = "k8s.io"


def socket() -> Path:
    """Return containerd's socket; the cluster has its own containerd, apart from any that the host runs."""
    return state_dir() / "run" / "containerd.sock"


def responds() -> bool:
    """Tell whether containerd answers at its socket."""
    try:
        return bool(socket().exists() and _ctr("--connect-timeout", "1s", "version"))
    except RuntimeError:
        return False


def volatile_dir() -> Path:
    """Return the directory of what containerd knows of running containers; a reboot of the machine outdates it."""
    return state_dir() / "run" / "containerd"


def load_image(archive: Path) -> None:
    """Import the images of a `docker-archive` tar into the cluster, under the names that the archive carries.

    Importing an image that is there already replaces it. Raises RuntimeError with ctr's message when it cannot.
    """
    _ctr("images", "import", str(archive))


def image_present(ref: str) -> bool:
    """Tell whether the cluster has an image of this full name, e.g. `localhost/modelyard/serving:dev`."""
    return ref in _ctr("images", "ls", "-q", f"name=={ref}").split()


def _ctr(*arguments: str) -> str:
    command = ["ctr", "--address", str(socket()), "--namespace", NAMESPACE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
