"""What the images are made of, and therefore what they are called: a tag is a digest of everything that goes in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "localhost/modelyard"

BASE = "base"

# Counts up when the builder makes something else of unchanged inputs.
BUILDER = 1

# The chart's value → the image. Jobs run in the tracking image unless an Experiment names another.
VALUES = {
    "operator": "operator",
    "tracking": "tracking",
    "serving": "serving",
    "training": "tracking",
    "minio": "minio",
    "postgresql": "postgresql",
}

LOCK = ("pyproject.toml", "uv.lock", "environments/pyproject.toml", "serving-image/pyproject.toml", ".dockerignore")

IGNORED_DIRECTORIES = {"__pycache__"}
IGNORED_SUFFIXES = {".pyc"}


@dataclass(frozen=True)
class Image:
    """One image: how it is built, and what its content depends on."""

    name: str
    dockerfile: str
    """Relative to the repository."""
    target: str = ""
    """The stage to build; empty for the last one."""
    sources: tuple[str, ...] = ()
    """Files and directories that the Dockerfile copies, relative to the repository, which then is the build context."""
    base: str = BASE
    """The image that `BASE_IMAGE` names; empty for an image that starts from nothing."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What else decides the content, e.g. the key of a program that is built elsewhere."""


def images(inputs: Mapping[str, Mapping[str, str]]) -> list[Image]:
    """Return the images in the order in which to build them: the base, then the slowest first.

    `inputs` gives the `Image.inputs` of the images, by name, that depend on more than files of the repository.
    """
    local = "tests/cluster/images"
    operator = (*LOCK, "README.md", "operator/modelyard", "environments/modelyard_environments")
    made = [
        Image(BASE, f"{local}/base/Dockerfile", base=""),
        Image("tracking", "operator/Dockerfile", "tracking", operator),
        Image("postgresql", f"{local}/postgresql/Dockerfile"),
        Image("serving", "serving-image/Dockerfile", "serving", (*LOCK, "serving-image/modelyard_serving")),
        Image("operator", "operator/Dockerfile", "operator", operator),
        Image("minio", f"{local}/minio/Dockerfile"),
    ]
    return [Image(**{**vars(image), "inputs": inputs.get(image.name, {})}) for image in made]


def references(wanted: Sequence[Image], repository: Path) -> dict[str, str]:
    """Return each image's full name, e.g. `localhost/modelyard/operator:0a1b2c3d4e5f`, by its short one.

    An image's base must come before it. Raises FileNotFoundError for a source that is not there.
    """
    named: dict[str, str] = {}
    for image in wanted:
        tag = digest(image, repository, named[image.base] if image.base else "")
        named[image.name] = f"{PREFIX}/{image.name}:{tag}"
    return named


def digest(image: Image, repository: Path, base: str) -> str:
    """Return the 12 hexadecimal digits that stand for the image's inputs; `base` is its base's full name."""
    total = hashlib.sha256(json.dumps([BUILDER, vars(image), base], sort_keys=True, default=dict).encode())
    for path in source_files(repository, [image.dockerfile, *image.sources]):
        content = path.read_bytes()
        mode = "x" if path.stat().st_mode & 0o100 else "-"
        total.update(f"\0{path.relative_to(repository)}\0{mode}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:12]


def source_files(repository: Path, sources: Iterable[str]) -> Iterator[Path]:
    """Yield the files of these files and directories in a stable order, without what .dockerignore leaves out."""
    for source in sources:
        start = repository / source
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            ignored = path.suffix in IGNORED_SUFFIXES or IGNORED_DIRECTORIES.intersection(path.parts)
            if not ignored and not path.is_dir():
                yield path


def values(named: Mapping[str, str]) -> str:
    """Return the Helm values file, as YAML, that makes the chart use these images as they are in the cluster."""
    lines = ["images:"]
    for value, image in VALUES.items():
        repository, _, tag = named[image].rpartition(":")
        # A tag of digits alone, or one such as 12e345678901, would be a number.
        lines.append(f'  {value}: {{repository: {repository}, tag: "{tag}", pullPolicy: Never}}')
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Work:
    """What is to do, in order: the images to build and those to import into the cluster."""

    build: tuple[Image, ...]
    bring: tuple[Image, ...]


def work(
    wanted: Sequence[Image], named: Mapping[str, str], stored: Collection[str], present: Collection[str] | None
) -> Work:
    """Return what is to do, given the full names that the storage and the cluster hold.

    `present` is None where no cluster is to be served. An image that the cluster has is not built, and the base is
    built only where another image needs it; nothing runs in the base, so it is not imported.
    """
    leaves = [image for image in wanted if image.name != BASE]
    bring = tuple(image for image in leaves if present is not None and named[image.name] not in present)
    build = [image for image in (leaves if present is None else bring) if named[image.name] not in stored]
    bases = [image for image in wanted if image.name == BASE and named[BASE] not in stored and build]
    return Work((*bases, *build), bring)


@dataclass(frozen=True)
class Stored:
    """An image in the builder's storage; `created` sorts by age, oldest first."""

    ref: str
    created: str


def stale(stored: Iterable[Stored], current: Iterable[str], keep: int = 3) -> list[str]:
    """Return the full names to remove: all but the newest `keep` of each image, and never a current one."""
    spared = set(current)
    by_name: dict[str, list[Stored]] = {}
    for image in stored:
        by_name.setdefault(image.ref.rpartition(":")[0], []).append(image)
    removed: list[str] = []
    for versions in by_name.values():
        versions.sort(key=lambda image: (image.ref in spared, image.created), reverse=True)
        removed += [image.ref for image in versions[keep:] if image.ref not in spared]
    return sorted(removed)
