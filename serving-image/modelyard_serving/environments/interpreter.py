"""The directory of an environment: an interpreter, its libraries, and the way to this package.

    <root>/pyvenv.cfg, bin/python*      made here, for the Python that runs; no part of an archive
    <root>/lib/python3.x/site-packages  the libraries, with `modelyard.pth`
    <root>/server/modelyard_serving     a link to the package as the image has it; no part of an archive

The server's own code thus always is the image's, whoever built the environment. A virtual environment's layout:
https://docs.python.org/3/library/venv.html.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import modelyard_serving

LIB = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
SITE_PACKAGES = f"{LIB}/site-packages"
PATH_FILE = f"{SITE_PACKAGES}/modelyard.pth"
SERVER = "server"
LOCAL = ("pyvenv.cfg", "bin/python", "bin/python3", f"bin/{Path(LIB).name}", SERVER)
"""What belongs to one container, and is made there."""


def python(root: Path) -> Path:
    """The environment's interpreter."""
    return root / "bin" / "python"


def furnish(root: Path) -> None:
    """Make what is local, or make it anew. Any number of processes may do so at a time."""
    base = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    (root / "bin").mkdir(parents=True, exist_ok=True)
    (root / SITE_PACKAGES).mkdir(parents=True, exist_ok=True)
    (root / SERVER).mkdir(exist_ok=True)
    # `relocatable`: uv then writes scripts that find the interpreter beside themselves.
    settings = f"home = {base.parent}\ninclude-system-site-packages = false\nrelocatable = true\n"
    _write(root / "pyvenv.cfg", settings + f"version = {sys.version.split()[0]}\n")
    for name in LOCAL[1:4]:
        _link(root / name, base)
    # Relative to the directory that it lies in, and so right wherever the environment is.
    _write(root / PATH_FILE, os.path.relpath(root / SERVER, root / SITE_PACKAGES) + "\n")
    package = Path(modelyard_serving.__file__).resolve().parent
    _link(root / SERVER / package.name, package)


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(path)


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink() or path.readlink() != target:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(path)
