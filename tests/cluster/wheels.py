"""Wheels from PyPI, through pip: the machine's own index and certificates apply, and the digests are ours."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TextIO

from tests.cluster.errors import ClusterError
from tests.cluster.paths import cache_dir
from tests.cluster.versions import Wheel


def download(wheel: Wheel, directory: Path, log: TextIO) -> Path:
    """Download a wheel for this platform and return its path. Raises CalledProcessError when pip fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in wheel.sha256)
        requirements.write(f"{wheel.distribution}=={wheel.version} {hashes}\n")
        requirements.flush()
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(directory)]
        command = [*_pip(log), "download", *options, "-r", requirements.name]
        subprocess.run(command, stdout=log, stderr=log, check=True)
    found = sorted(directory.glob("*.whl"))
    if len(found) != 1:
        raise ClusterError(f"pip downloaded {len(found)} wheels of {wheel.distribution} where one was asked for")
    return found[0]


def _pip(log: TextIO) -> list[str]:
    """Return the command for a pip: this Python's, or that of a virtual environment made for it."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    environment = cache_dir() / "pip"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], stdout=log, stderr=log, check=True)
    return [str(python), "-m", "pip"]
