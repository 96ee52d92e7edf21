"""The pinned components of `versions.toml`, and the key under which a component's build is cached."""

from __future__ import annotations

import hashlib
import json
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.cluster.paths import HERE, cache_dir

VERSIONS = HERE / "versions.toml"
MODULES = HERE / "go"

# Counts up when the builder makes something else of an unchanged recipe, so that what it made before is built again.
BUILDER = 1


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI, pinned by version and by the digests of the files that are accepted."""

    distribution: str
    version: str
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How a component is obtained; the fields are those of `versions.toml`."""

    name: str
    version: str
    build: Literal["module", "install", "wheel"]
    directory: str = ""
    packages: tuple[str, ...] = ()
    package: str = ""
    module: str = ""
    files: tuple[str, ...] = ()
    binary: str = ""
    distribution: str = ""
    sha256: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """String variables to set when linking, by their package's path and their name."""
    tools: tuple[str, ...] = ()
    optional: bool = False
    """Whether the cluster runs without it: some tests alone need it."""
    sources: Mapping[str, bytes] = field(default_factory=dict)
    """The files of the component's directory under go/, by relative path, for `build = "module"`."""

    def key(self, machine: str) -> str:
        """Return the name of this build on this processor architecture: the version and a digest of the recipe."""
        digest = hashlib.sha256()
        # A field that is empty counts as absent, so that a new field of recipes leaves the keys as they are.
        entry = {name: value for name, value in vars(self).items() if value and name != "sources"}
        digest.update(json.dumps([BUILDER, machine, entry], sort_keys=True).encode())
        for path, content in sorted(self.sources.items()):
            digest.update(path.encode() + b"\0" + content + b"\0")
        return f"{self.version}-{digest.hexdigest()[:12]}"

    def home(self) -> Path:
        """Return where the component is once it is built. The directory exists exactly when the build is complete."""
        return cache_dir() / "components" / self.name / self.key(platform.machine())


@dataclass(frozen=True)
class Toolchain:
    """The Go that builds: any on PATH from `minimum` on, else the one in the wheel."""

    minimum: tuple[int, ...]
    wheel: Wheel


@dataclass(frozen=True)
class Versions:
    """Everything that `versions.toml` pins."""

    toolchain: Toolchain
    components: Mapping[str, Recipe]

    def program(self, component: str, name: str = "") -> Path:
        """Return the path of a component's program, which has the component's name unless another is given."""
        return self.components[component].home() / (name or component)


def load(path: Path = VERSIONS) -> Versions:
    """Read the pins and the sources that belong to them. Raises TypeError for a field that no recipe has."""
    document = tomllib.loads(path.read_text())
    go = document["go"]
    return Versions(
        toolchain=Toolchain(
            minimum=parse_version(go["minimum"]),
            wheel=Wheel(go["distribution"], go["version"], tuple(go["sha256"])),
        ),
        components={name: _recipe(name, entry) for name, entry in document["components"].items()},
    )


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a dotted version: `1.26.8` is `(1, 26, 8)`. Raises ValueError for anything else."""
    return tuple(int(part) for part in text.split("."))


def _recipe(name: str, entry: Mapping[str, Any]) -> Recipe:
    fields: dict[str, Any] = {
        key.replace("-", "_"): tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    if "directory" in fields:
        directory = MODULES / fields["directory"]
        files = [file for file in directory.rglob("*") if file.is_file()]
        fields["sources"] = {str(file.relative_to(directory)): file.read_bytes() for file in files}
    return Recipe(name=name, **fields)
