"""A Python environment for each server, in the cache by content: what is there is used again."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from pathlib import Path

from tests.cluster.paths import REPOSITORY, cache_dir

REQUIREMENTS = Path(__file__).with_name("requirements")
PACKAGE = "modelyard-serving"
EXPORT = ("export", "--quiet", "--frozen", "--no-dev", "--no-emit-workspace", "--no-header", "--no-annotate")


@functools.cache
def peer(name: str) -> Path:
    """Return the `bin` directory of the environment that requirements/<name>.txt pins."""
    return _environment(name, (REQUIREMENTS / f"{name}.txt").read_text())


@functools.cache
def modelyard() -> Path:
    """Return the `bin` directory of what the serving image holds: its locked dependencies and the package as it is."""
    programs = _environment("modelyard", _uv(*EXPORT, "--package", PACKAGE))
    install = ("pip", "install", "--quiet", "--no-deps", "--no-sources", "--compile-bytecode")
    source = str(REPOSITORY / "serving-image")
    _uv(*install, "--reinstall-package", PACKAGE, "--python", str(programs / "python"), source)
    return programs


def _environment(name: str, requirements: str) -> Path:
    """The environment with these requirements, made if it is not there, with bytecode as an image has it."""
    python = platform.python_version()
    key = hashlib.sha256(f"{python}\n{requirements}".encode()).hexdigest()[:16]
    home = cache_dir() / "bench" / f"{name}-{key}"
    complete = home / "complete"
    if not complete.exists():
        _uv("venv", "--quiet", "--clear", "--python", python, str(home))
        listed = home / "requirements.txt"
        listed.write_text(requirements)
        install = ("pip", "install", "--quiet", "--require-hashes", "--compile-bytecode")
        _uv(*install, "--python", str(home / "bin" / "python"), "--requirements", str(listed))
        complete.touch()
    return home / "bin"


def _uv(*arguments: str) -> str:
    uv = os.environ.get("UV", "uv")
    return subprocess.run([uv, *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
