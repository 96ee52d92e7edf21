"""A package index and a conda channel of a few bytes, served over HTTP, and the Job's steps as processes."""

from __future__ import annotations

import asyncio
import ensurepip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import rattler.index
from uv import find_uv_bin

from modelyard_environments.recipe import Recipe

REPOSITORY = Path(__file__).parents[3]
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named there
        pass


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """Write a wheel with one module, which knows its version."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return path


def index(top: Path) -> None:
    """Write a simple index: apple 1.0 and 2.0, pear 1.0, which needs an apple, and pip."""
    wheels = [
        wheel(top / "files", "apple", "1.0"),
        wheel(top / "files", "apple", "2.0"),
        wheel(top / "files", "pear", "1.0", "apple"),
    ]
    (bundled,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    wheels.append(top / "files" / bundled.name)
    wheels[-1].write_bytes(bundled.read_bytes())
    for path in wheels:
        page = top / "simple" / path.name.split("-")[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with page.open("a") as file:
            file.write(f'<a href="/files/{path.name}#sha256={digest}">{path.name}</a>\n')


def conda_package(channel: Path, name: str, version: str, files: Mapping[str, str], *depends: str) -> None:
    """Write a package of text files and, where a text begins with `->`, links."""
    folder = channel / "noarch"
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": list(depends),
        "subdir": "noarch",
        "noarch": "generic",
    }
    paths = [
        {"_path": path, "path_type": "softlink" if text.startswith("->") else "hardlink"}
        | ({} if text.startswith("->") else {"sha256": _sha(text), "size_in_bytes": len(text)})
        for path, text in files.items()
    ]
    inside = {
        **files,
        "info/index.json": json.dumps(about),
        "info/files": "".join(f"{path}\n" for path in files),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": paths}),
    }
    with tarfile.open(folder / f"{name}-{version}-0.tar.bz2", "w:bz2") as archive:
        for path, text in inside.items():
            member = tarfile.TarInfo(path)
            if text.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, text.removeprefix("->")
                archive.addfile(member)
            else:
                member.size, member.mode = len(text), 0o755
                archive.addfile(member, io.BytesIO(text.encode()))


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def indexed(channel: Path) -> None:
    """Write the channel's repodata."""
    asyncio.run(rattler.index.index_fs(channel, write_zst=False, write_shards=False))


def conda_python(channel: Path) -> None:
    """Write a package `python` that is a virtual environment of the Python that runs: quicker than a whole one."""
    base = Path(sys.executable).resolve()
    settings = f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {sys.version.split()[0]}\n"
    files = {
        "pyvenv.cfg": settings,
        "bin/python": f"->{base}",
        f"lib/python{MINOR}/site-packages/README.txt": "libraries\n",
    }
    conda_package(channel, "python", sys.version.split()[0], files)


@dataclass
class Step:
    """What came of a step."""

    code: int
    said: str


class Job:
    """The Job's volumes, and its steps as processes of their own."""

    def __init__(self, top: Path, recipe: Recipe, env: Mapping[str, str]) -> None:
        self.work, self.root = top / "work", top / "environment"
        (self.work / "bin").mkdir(parents=True)
        self.root.mkdir()
        (self.work / "bin" / "uv").symlink_to(find_uv_bin())
        (self.work / "recipe.json").write_text(recipe.to_json())
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._env = {**kept, "PYTHONPATH": str(REPOSITORY / "environments"), "MODELYARD_SECONDS": "240", **env}

    def step(self, name: str, *before: str) -> Step:
        command = [sys.executable, "-m", "modelyard_environments", name, *before, str(self.work), str(self.root)]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False, timeout=240)
        return Step(done.returncode, done.stdout + done.stderr)

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.work / "out" / "built.json").read_text())
        return told

    @property
    def lock(self) -> str:
        return (self.work / "out" / "lock.txt").read_text()

    def program(self, command: str) -> str:
        """What a trial's command says with the environment."""
        env = {"PATH": "/usr/bin:/bin", "BASH_ENV": str(self.root / "etc/modelyard/activate.sh")}
        done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout + done.stderr).strip()
