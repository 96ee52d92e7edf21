"""The programs that come from the system's package manager, and what is missing of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.cluster.errors import ClusterError

# Administration programs live in directories that a plain user's, or cron's, PATH may lack.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))

# Debian package → the program that it brings.
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables-restore",
    "iproute2": "ip",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}

# What Argo CD runs on.
GITOPS_PROGRAMS = {"git": "git", "redis-server": "redis-server"}


def find_program(name: str) -> str | None:
    """Return the full path of a system program, or None. Looks in the administrator's directories as well as PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SEARCH_PATH}")


def program(name: str) -> str:
    """Return the full path of a system program that must be there. Raises ClusterError where it is not."""
    found = find_program(name)
    if found is None:
        raise ClusterError(f"{name} is not installed")
    return found


def cni_directory() -> Path | None:
    """Return the directory of the CNI plugins, or None."""
    return next((directory for directory in CNI_DIRECTORIES if (directory / "bridge").exists()), None)


def static_busybox() -> Path | None:
    """Return a busybox that needs no shared library, so that it can be an image by itself, or None."""
    for candidate in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        # A dynamic program names its loader in its first page (ELF's PT_INTERP).
        if candidate.exists() and b"/ld-" not in candidate.open("rb").read(4096):
            return candidate
    return None


def missing_packages(
    find: Callable[[str], str | None] = find_program,
    cni: Callable[[], Path | None] = cni_directory,
    busybox: Callable[[], Path | None] = static_busybox,
) -> list[str]:
    """Return the Debian packages whose programs are not on this machine, by whatever way they would have come there."""
    missing = [package for package, name in PROGRAMS.items() if find(name) is None]
    if cni() is None:
        missing.append("containernetworking-plugins")
    if busybox() is None:
        missing.append("busybox-static")
    return missing


def missing_gitops_packages(find: Callable[[str], str | None] = find_program) -> list[str]:
    """Return the Debian packages that Argo CD needs and that are not on this machine."""
    return [package for package, name in GITOPS_PROGRAMS.items() if find(name) is None]


def ensure_packages(find_missing: Callable[[], list[str]] = missing_packages) -> None:
    """Install what is missing where that is possible. Raises ClusterError, naming all of it, where it is not."""
    missing = find_missing()
    if not missing:
        return
    apt = find_program("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise ClusterError(missing_message(missing, apt is not None))
    print(f"installing system packages: {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *missing]):
        done = subprocess.run([apt, *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"apt-get {' '.join(arguments)} failed:\n{_tail(done.stdout + done.stderr)}")
    if still := find_missing():
        raise ClusterError(f"apt-get installed the packages, but their programs are not found: {' '.join(still)}")


def missing_message(missing: Iterable[str], has_apt: bool) -> str:
    """Say what is missing and how to get it, for a machine where it cannot be installed from here."""
    names = " ".join(missing)
    if has_apt:
        return f"these packages are missing: {names}\nrun as root, or install them: sudo apt-get install {names}"
    return f"these packages (by their Debian names) are missing: {names}\ninstall what your distribution calls them"


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.splitlines()[-lines:])
