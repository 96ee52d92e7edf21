"""Which files of a local directory are run, and how they travel: a ConfigMap where they fit, else an archive."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dulwich.ignore import IgnoreFilter, IgnoreFilterManager

from modelyard.backend.checkout import Checkout
from modelyard.backend.errors import BackendError
from modelyard.sources import keep

CONFIG_MAP_LIMIT = 900 << 10
"""Bytes of all names and contents: an object in etcd may have 1.5 MiB, and base64 takes a third more."""

LIMITS = keep.LIMITS
"""What the operator takes: data belongs into a store, not into a project."""

IGNORE_FILE = ".modelyardignore"
"""In the project's directory, written as .gitignore is: further files that do not travel."""

_NEVER_DIRECTORIES = frozenset(
    (
        *(".git", ".hg", ".svn", ".venv", ".tox", "node_modules", "__pycache__", ".ipynb_checkpoints"),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", "mlruns", "mlartifacts"),
    )
)
_NEVER_FILES = frozenset((".DS_Store", "mlflow.db", IGNORE_FILE))
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_SHOWN = 10


@dataclass(frozen=True)
class File:
    """One file of a project."""

    content: bytes
    executable: bool = False


Files = Mapping[str, File]
"""By path, relative, with `/` between."""


def never(path: str) -> bool:
    """Whether no project has such a file: caches, environments and what MLflow leaves of local runs."""
    *directories, name = path.split("/")
    return name in _NEVER_FILES or name.endswith(".pyc") or not _NEVER_DIRECTORIES.isdisjoint(directories)


def collect(directory: Path, checkout: Checkout | None) -> Files:
    """Return the files of a project: what git has or, elsewhere, what .gitignore leaves.

    Neither what .modelyardignore names nor what `never` says travels, the latter unless git has it. Raises
    `BackendError` for a link that leads out of the directory, for more than `LIMITS` allow, and for no file at all.
    """
    root = directory.resolve()
    manager = checkout.ignored if checkout else IgnoreFilterManager(os.fspath(root), [], ignorecase=False)
    prefix, tracked = (checkout.prefix, checkout.tracked) if checkout else ("", frozenset[str]())
    own = root / IGNORE_FILE
    unwanted = IgnoreFilter.from_path(os.fspath(own)) if own.exists() else IgnoreFilter([])
    found: dict[str, File] = {}
    total = 0
    for path in _walk(root, tracked, lambda path: manager.may_prune_directory(prefix + path)):
        if path not in tracked and (never(path) or manager.is_ignored(prefix + path)):
            continue
        if path == IGNORE_FILE or unwanted.is_ignored(path) or _in_unwanted(unwanted, path):
            continue
        _check(root, path)
        total += (root / path).stat().st_size
        if total > LIMITS.total or len(found) >= LIMITS.count:
            raise BackendError(_too_large(root, [*found, path]))
        full = root / path
        found[path] = File(full.read_bytes(), bool(full.stat().st_mode & 0o100))
    if not found:
        raise BackendError(f"{directory} has no files that could be run")
    return found


def in_config_map(files: Files) -> bool:
    """Whether a ConfigMap can hold the files: no directories, nothing executable, and little enough."""
    size = sum(len(path) + len(file.content) for path, file in files.items())
    plain = all(_KEY.fullmatch(path) and not file.executable for path, file in files.items())
    return plain and size <= CONFIG_MAP_LIMIT


def content(files: Files) -> keep.Content:
    """Return the files as the operator keeps them, with what is executable among them."""
    return tuple(
        keep.File(path, len(file.content), executable=file.executable, data=file.content)
        for path, file in sorted(files.items())
    )


def _walk(root: Path, tracked: frozenset[str], ignored: Callable[[str], bool]) -> Iterator[str]:
    kept = {"/".join(path.split("/")[:depth]) for path in tracked for depth in range(1, path.count("/") + 1)}
    for place, directories, names in os.walk(root):
        here = Path(place).relative_to(root)
        for name in list(directories):
            path = (here / name).as_posix()
            if (root / path).is_symlink():
                # As os.walk sees it, a link to a directory is one.
                directories.remove(name)
                if not never(path + "/"):
                    raise BackendError(f"{path} is a link to a directory: a project's directories must be its own")
            elif path not in kept and (name in _NEVER_DIRECTORIES or ignored(path)):
                directories.remove(name)
        directories.sort()
        yield from ((here / name).as_posix() for name in sorted(names))


def _in_unwanted(unwanted: IgnoreFilter, path: str) -> bool:
    parts = path.split("/")
    return any(unwanted.is_ignored("/".join(parts[:depth]) + "/") for depth in range(1, len(parts)))


def _check(root: Path, path: str) -> None:
    full = root / path
    if full.is_symlink() and not full.resolve().is_relative_to(root):
        raise BackendError(f"{path} is a link that leads out of the project's directory")
    if not full.is_file():
        raise BackendError(f"{path} is no regular file")


def _too_large(root: Path, paths: list[str]) -> str:
    sizes = sorted(((root / path).stat().st_size, path) for path in paths)
    largest = ", ".join(f"{path} ({size >> 20} MiB)" for size, path in reversed(sizes[-3:]))
    return (
        f"{root} has more than {LIMITS.total >> 20} MiB or {LIMITS.count} files, {largest} the largest so far;"
        f" name what does not belong to the project in {IGNORE_FILE}"
    )


def refuse_changes(checkout: Checkout) -> None:
    """Raise `BackendError` where files differ from the commit, naming them."""
    changed = [path for path in checkout.changed if path in checkout.tracked or not never(path)]
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise BackendError(
            f"the directory differs from commit {checkout.commit[:12]}: {', '.join(changed[:_SHOWN])}{more}."
            ' Commit the changes, or set "allowDirty": true in the backend config to run them as they are'
        )
