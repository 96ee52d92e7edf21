"""Where the local cluster keeps its things: the cache (survives `down`) and the state (does not)."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


def cache_dir() -> Path:
    """Return the directory of everything that is built or downloaded: outside the checkout, shared by checkouts.

    `MODELYARD_CACHE` names it; else it is `modelyard` in `XDG_CACHE_HOME` or `~/.cache`. It need not exist.
    """
    chosen = os.environ.get("MODELYARD_CACHE")
    if chosen:
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "modelyard"


def bin_dir() -> Path:
    """Return the directory of links to the built tools that people call by name: kubectl, helm, …."""
    return cache_dir() / "bin"


def state_dir() -> Path:
    """Return the directory of the running cluster's data, logs, certificates and process records.

    `MODELYARD_STATE` names it; else it is `/var/lib/modelyard-cluster`. `down` removes it. It need not exist.
    """
    return Path(os.environ.get("MODELYARD_STATE") or "/var/lib/modelyard-cluster").absolute()


def kubeconfig() -> Path:
    """Return the administrator's kubeconfig of the local cluster; it exists while the cluster is up."""
    return state_dir() / "admin.kubeconfig"
