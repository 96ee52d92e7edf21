"""Builds an environment in the image of the trials: `python -m modelyard_environments build WORK ROOT`.

WORK/recipe.json   what it is made of
WORK/bin/uv        uv
WORK/conda.json    what came of conda's channels, where they were asked before
WORK/out/          what is told: built.json, lock.txt
ROOT               the environment, where trials have it as well
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard_environments import activation, directory, folder, lock
from modelyard_environments.progress import say
from modelyard_environments.recipe import CONDA, IMAGE, LOCK, Recipe
from modelyard_environments.running import Failed, run
from modelyard_environments.uv import CACHE, Uv

RECIPE, UV, CONDA_RESULT, OUT = "recipe.json", "bin/uv", "conda.json", "out"
BUILT, LOCK_TEXT = "built.json", "lock.txt"
SPARE_SECONDS = 60.0
"""What is kept of the Job's time for packing and sending."""


@dataclass(frozen=True)
class Made:
    """What came of it. `archived`: whether there is an environment at the root; otherwise the image is used."""

    archived: bool
    python: Path
    conda: tuple[str, ...] = ()
    message: str = ""


def build(work: Path, root: Path, env: Mapping[str, str], image: Path) -> None:
    """Build and tell. `image` is the Python of the image. Raises `Failed`, `LockInvalid`, `RecipeInvalid`."""
    end = time.monotonic() + float(env.get("MODELYARD_SECONDS") or "1800") - SPARE_SECONDS
    recipe = Recipe.from_json((work / RECIPE).read_text())
    where = folder.write(recipe, work / "project")
    uv = Uv(work / UV, root, where, end, {**env, **recipe.variables})
    builder = Builder(uv, recipe, image, work)
    made = builder.make()
    packages = builder.locked(made)
    out = work / OUT
    out.mkdir(exist_ok=True)
    options = folder.open_options(recipe)
    text = lock.Lock(version_of(made.python), made.conda, (*options, *packages)).to_text()
    (out / LOCK_TEXT).write_text(text)
    if made.archived:
        shutil.rmtree(root / CACHE, ignore_errors=True)
        _compile(made.python, root, end)
        activation.write(root, conda=bool(made.conda))
    told: dict[str, Any] = {
        "archived": made.archived,
        "python": version_of(made.python),
        "packages": len(packages) + len(made.conda),
        "message": made.message,
    }
    if recipe.directory is not None:
        told["directory"] = directory.read(Path(recipe.directory))
    (out / BUILT).write_text(json.dumps(told))
    say(f"{told['packages']} packages, Python {told['python']}. {made.message}".strip())


class Builder:
    """One build."""

    def __init__(self, uv: Uv, recipe: Recipe, image: Path, work: Path) -> None:
        """`image` is the Python of the image."""
        self._uv = uv
        self._recipe = recipe
        self._image = image
        self._work = work
        self._notes: list[str] = []

    def make(self) -> Made:
        """Make the environment, unless the image has all that is asked for. Raises `Failed`."""
        if self._recipe.kind == IMAGE:
            return Made(False, self._image)
        if self._recipe.kind == LOCK:
            return self._again()
        if self._recipe.kind == CONDA:
            said = json.loads((self._work / CONDA_RESULT).read_text())
            if said["left_out"] is None:
                return self._beside_conda(tuple(said["packages"]))
            self._notes.append(self._without_conda(said["left_out"]))
        return self._virtual()

    def _virtual(self) -> Made:
        """An environment of its own upon some Python, or the image's where it is all there."""
        python = self._python(self._recipe.python)
        requirements = self._uv.folder / folder.REQUIREMENTS
        as_it_is = python == self._image and not self._recipe.variables
        if as_it_is and self._uv.satisfied(self._image, requirements):
            return Made(False, self._image, message=self._message)
        own = self._uv.create(python)
        if self._recipe.build:
            self._uv.install(own, [self._uv.folder / folder.BUILD], "installing build_dependencies")
        self._uv.install(own, [requirements], "installing its packages")
        return Made(True, own, message=self._message)

    def _beside_conda(self, conda: tuple[str, ...]) -> Made:
        """The pip part of a conda environment goes into it."""
        own = self._uv.root / "bin" / "python"
        if own.exists():
            if self._recipe.requirements:
                requirements = [self._uv.folder / folder.REQUIREMENTS]
                self._uv.install(own, requirements, "installing the pip part", "--break-system-packages")
            return Made(True, own, conda, self._message)
        if not self._recipe.requirements:
            # Programs alone: the image's Python is used beside them.
            return Made(True, self._image, conda, self._message)
        raise Failed(f"{self._recipe.origin} has a pip part, but names no python among its packages")

    def _again(self) -> Made:
        """Exactly the packages of a lock."""
        wanted = lock.read(self._recipe.files["lock"])
        path = self._uv.folder / "modelyard-lock.txt"
        path.write_text("\n".join(wanted.packages) + "\n")
        options = ("--no-deps", "--break-system-packages") if wanted.conda else ("--no-deps",)
        if wanted.conda and (self._uv.root / "bin" / "python").exists():
            own = self._uv.root / "bin" / "python"
        elif wanted.conda:
            own = self._image
        else:
            python = self._python(wanted.python)
            if _minor(version_of(python)) != _minor(wanted.python):
                raise Failed(f"{self._recipe.origin} has Python {wanted.python}. {self._message}")
            own = self._uv.create(python)
            self._uv.install(own, [path], "installing the packages of the lock", *options, "--exact")
            return Made(True, own, message=self._message)
        if wanted.packages:
            self._uv.install(own, [path], "installing the packages of the lock", *options)
        return Made(True, own, wanted.conda, self._message)

    def locked(self, made: Made) -> tuple[str, ...]:
        """Return the packages of an environment that are not conda's, for its lock."""
        if made.python == self._image and made.archived:
            return ()
        found = self._uv.freeze(made.python)
        if not made.archived:
            return found
        if made.conda:
            names = _of_pip(made.python, self._uv)
            found = tuple(line for line in found if _name(line) in names)
        if not found:
            return ()
        return self._uv.hashes(made.python, self._uv.folder / folder.OPTIONS, found, self._uv.folder)

    def _python(self, wanted: str | None) -> Path:
        """Return the Python that is asked for; where it cannot be had, the nearest, with a note."""
        running = platform.python_version()
        if wanted is None or _matches(running, wanted):
            return self._image
        if found := self._uv.find(wanted):
            return found
        try:
            return self._uv.download(wanted)
        except Failed as error:
            why = str(error)
        minor = _minor(wanted)
        if minor != wanted and _minor(running) == minor:
            self._notes.append(f"Python {wanted} cannot be downloaded ({why}): Python {running} of the image is used")
            return self._image
        if minor != wanted and (found := self._uv.find(minor)):
            self._notes.append(f"Python {wanted} cannot be downloaded ({why}): Python {version_of(found)} is used")
            return found
        note = f"Python {wanted} is left out, Python {running} of the image is used ({why})"
        self._notes.append(note)
        return self._image

    def _without_conda(self, why: str) -> str:
        """Say what of a conda environment is left out."""
        named = [each for each in self._recipe.packages if each.split("=")[0].split("::")[-1].strip() not in _OF_PIP]
        left_out = f": {', '.join(named)} left out" if named else ""
        return f"{why}{left_out}; what pip installs is installed"

    @property
    def _message(self) -> str:
        return ". ".join(self._notes)


_OF_PIP = ("python", "pip")
"""Packages of conda that an environment without conda has as well."""


def version_of(python: Path) -> str:
    """Return the version of a Python: `3.12.8`. Raises `Failed`."""
    program = "import platform; print(platform.python_version())"
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            [str(python), "-I", "-c", program], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"{python} does not run: {error}") from error
    return done.stdout.strip()


def _of_pip(python: Path, uv: Uv) -> set[str]:
    """Return the names of the packages that pip or uv have installed, as `pip freeze` writes them."""
    program = (
        "import importlib.metadata as m\n"
        "for d in m.distributions():\n"
        "    if (d.read_text('INSTALLER') or '').strip() in ('uv', 'pip'): print(d.metadata['Name'])\n"
    )
    said = run([str(python), "-I", "-c", program], uv.end, uv.folder, uv.env, "listing the pip part")
    return {_name(line) for line in said}


def _name(line: str) -> str:
    return (
        line.split("==", maxsplit=1)[0].split(" @ ", maxsplit=1)[0].strip().lower().replace("_", "-").replace(".", "-")
    )


def _matches(version: str, wanted: str) -> bool:
    parts = wanted.split(".")
    return version.split(".")[: len(parts)] == parts


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _compile(python: Path, root: Path, end: float) -> None:
    """Bytecode that does not depend on the files' times, which an archive does not keep; libraries' tests need none."""
    workers = str(len(os.sched_getaffinity(0)))
    command = [str(python), "-m", "compileall", "-qq", "-j", workers, "-x", "/tests/"]
    command += ["--invalidation-mode", "unchecked-hash", str(root / "lib")]
    if (root / "python").is_dir():
        command.append(str(root / "python"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        for _ in run(command, end, root, env, "compiling it", check=False):
            pass
    except Failed as error:
        say(f"not all is compiled: {error}")
