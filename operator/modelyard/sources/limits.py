"""How much a project may be, and how its files are named: the same for every kind of source."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard.sources.errors import SourceNotFound

TEXT_LIMIT = 1 << 20
"""The most that is read of a file that may say how the project is run."""

_TEXTS_LIMIT = 8 << 20
_TEXT_SUFFIXES = (".yaml", ".yml", ".txt", ".toml", ".lock")
_PATH_LIMIT = 1024
_DEPTH_LIMIT = 64
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True)
class Limits:
    """Bounds of one project: bytes of all its files, of one file, and how many files there may be."""

    total: int = 2 << 30
    file: int = 512 << 20
    count: int = 50_000


class Meter:
    """Counts a project's files against its limits. `what` names the project in messages."""

    def __init__(self, limits: Limits, what: str) -> None:
        self._limits = limits
        self._what = what
        self.count = 0
        self._total = 0

    def add(self, path: str, size: int = 0) -> None:
        """Count one file of so many bytes. Raises `SourceNotFound`."""
        self.count += 1
        if self.count > self._limits.count:
            raise SourceNotFound(f"{self._what} has more than {self._limits.count} files")
        self.grow(path, 0, size)

    def grow(self, path: str, size: int, more: int) -> None:
        """Count further bytes of a file that has `size` already. Raises `SourceNotFound`."""
        self._total += more
        if size + more > self._limits.file:
            raise SourceNotFound(
                f"{path} of {self._what} is larger than {amount(self._limits.file)}: data is better kept in the object"
                " store, and given to the entry point as a parameter of type path"
            )
        if self._total > self._limits.total:
            raise SourceNotFound(f"{self._what} is larger than {amount(self._limits.total)}")


def amount(size: int) -> str:
    """Return a number of bytes in words."""
    return next((f"{size // unit} {name}" for unit, name in _UNITS if size >= unit), f"{size} bytes")


def safe_path(path: str, what: str) -> str:
    """Return a file's path, relative and normal, with `/` between. Raises `SourceNotFound` where it leads elsewhere."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    bad = path.startswith("/") or "\\" in path or "\0" in path or not parts or ".." in parts
    if bad or len(parts) > _DEPTH_LIMIT or len(path) > _PATH_LIMIT:
        raise SourceNotFound(f"{what} has a file named {path[:200]!r}, which is not taken")
    return "/".join(parts)


def safe_link(path: str, target: str, what: str) -> str:
    """Return the target of the symbolic link at `path`. Raises `SourceNotFound` where it leads out of the project."""
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    parts = [part for part in target.split("/") if part not in ("", ".")]
    # Upwards only at the start: behind another link, `..` would lead from where that one leads to.
    turns = ".." in parts[next((index for index, part in enumerate(parts) if part != ".."), len(parts)) :]
    outside = target.startswith("/") or reached == ".." or reached.startswith("../")
    if not target or turns or outside or "\0" in target:
        raise SourceNotFound(f"{what} has a symbolic link {path} that leads out of the project, to {target[:200]!r}")
    return target


def is_text(path: str) -> bool:
    """Whether a file may say how the project is run: its text is part of the `Directory`."""
    name = path.rpartition("/")[2].lower()
    return name == "mlproject" or name.endswith(_TEXT_SUFFIXES)


def chosen(sizes: Mapping[str, int]) -> list[str]:
    """Return which files' texts to read, of their sizes by path: those nearest to the root, up to 8 MiB in all."""
    total, taken = 0, []
    for path in sorted(filter(is_text, sizes), key=lambda path: (path.count("/"), path)):
        if sizes[path] <= TEXT_LIMIT and total + sizes[path] <= _TEXTS_LIMIT:
            total += sizes[path]
            taken.append(path)
    return taken


def check_project_file(paths: Iterable[str], texts: Mapping[str, str]) -> None:
    """Raise `SourceNotFound` where there is an MLproject file that was too large to be read."""
    for path in paths:
        if path.lower() == "mlproject" and path not in texts:
            raise SourceNotFound("the MLproject file cannot be read: it is no file, or larger than 1 MiB")
