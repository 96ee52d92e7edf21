"""What of uv is used: finding and installing a Python, making an environment, installing, listing, hashing."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelyard_environments.lock import hashed
from modelyard_environments.progress import say
from modelyard_environments.running import Failed, run, uv_environment

PYTHON_SECONDS = 300.0
"""What downloading a Python may take."""
_STAGE = re.compile(r"^(Resolved|Prepared|Installed) \d+ packages? in ")
_QUICK = {"UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_TIMEOUT": "30", "UV_HTTP_RETRIES": "1"}


@dataclass(frozen=True)
class Uv:
    """One way to call uv: its binary, the environment's root, where commands run, and when all has to be done."""

    binary: Path
    root: Path
    folder: Path
    end: float
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def satisfied(self, python: Path, requirements: Path) -> bool:
        """Whether a Python's packages are what is asked for, without asking an index."""
        command = ["pip", "install", "--offline", "--dry-run", "--python", str(python), "-r"]
        try:
            said = list(self._run([*command, str(requirements)], "comparing"))
        except Failed:
            return False
        return any("no changes" in line for line in said)

    def find(self, version: str) -> Path | None:
        """Return a Python of this version (`3.10` or `3.10.4`) that the image has."""
        try:
            *_, path = self._run(["python", "find", "--no-project", version], "finding Python")
        except (Failed, ValueError):
            return None
        return Path(path)

    def download(self, version: str) -> Path:
        """Download a Python below the root. Raises `Failed` in uv's words."""
        end = min(self.end, time.monotonic() + PYTHON_SECONDS)
        env = {"UV_PYTHON_DOWNLOADS": "manual", **_QUICK}
        directory = str(self.root / "python")
        command = ["python", "install", "--no-bin", "--install-dir", directory, version]
        for line in self._run(command, f"downloading Python {version}", env, end):
            say(line)
        env = {"UV_PYTHON_INSTALL_DIR": directory}
        *_, path = self._run(["python", "find", "--no-project", "--managed-python", version], "finding Python", env)
        return Path(path)

    def create(self, python: Path) -> Path:
        """Make an environment, with pip if the index has it; return its Python."""
        command = ["venv", "--allow-existing", "--no-project", "--python", str(python), str(self.root)]
        for _ in self._run(command, "making an environment"):
            pass
        own = self.root / "bin" / "python"
        try:
            for _ in self._run(["pip", "install", "--python", str(own), "pip"], "installing pip"):
                pass
        except Failed as error:
            say(f"without pip: {error}")
        return own

    def install(self, python: Path, files: Sequence[Path], what: str, *options: str) -> None:
        """Install what requirement files say. Raises `Failed` in uv's words."""
        command = ["pip", "install", "--python", str(python), *options]
        for path in files:
            command += ["-r", str(path)]
        for line in self._run(command, what):
            if _STAGE.match(line) or line.startswith("warning"):
                say(line)

    def freeze(self, python: Path, *options: str) -> tuple[str, ...]:
        """Return `name==version`, or `name @ URL`, of the packages."""
        said = self._run(["pip", "freeze", "--python", str(python), *options], "listing the packages")
        return tuple(line for line in said if _PACKAGE.match(line))

    def hashes(self, python: Path, options: Path, packages: Sequence[str], scratch: Path) -> tuple[str, ...]:
        """Return the packages with the hashes that the index tells; without, where it does not."""
        source, output = scratch / "packages.txt", scratch / "hashed.txt"
        source.write_text("\n".join(packages) + "\n")
        command = ["pip", "compile", "--python", str(python), "--no-deps", "--generate-hashes", "--no-header"]
        command += ["--no-annotate", "--no-strip-markers", "--output-file", str(output), str(source), str(options)]
        try:
            for _ in self._run(command, "reading hashes"):
                pass
        except Failed as error:
            say(f"the lock has no hashes: {error}")
            return tuple(packages)
        return hashed(output.read_text()) or tuple(packages)

    def _run(
        self, arguments: Sequence[str], what: str, env: Mapping[str, str] | None = None, end: float | None = None
    ) -> Iterator[str]:
        fixed = {
            "UV_CACHE_DIR": str(self.root / CACHE),
            "UV_NO_PROGRESS": "1",
            # A cache beside the environment is linked into it: nothing is copied.
            "UV_LINK_MODE": "hardlink",
        }
        command = [str(self.binary), "--color", "never", *arguments]
        variables = {**uv_environment(self.env), **fixed, **(env or {})}
        variables.pop("VIRTUAL_ENV", None)
        return run(command, self.end if end is None else end, self.folder, variables, what)


CACHE = ".modelyard-cache"
"""Below the root: goes before the environment is packed."""

_PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]*(==| @ )")
