"""What git knows of a local directory: its commit, and what has changed since. Read without a git binary."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dulwich import porcelain
from dulwich.errors import NotGitRepository
from dulwich.ignore import IgnoreFilterManager
from dulwich.repo import Repo

from modelyard.backend.errors import BackendError

_CREDENTIALS = re.compile(r"^([a-z+]+://)[^/@]*@(?=.)")


@dataclass(frozen=True)
class Checkout:
    """A directory in a git repository's working tree.

    `tracked` are the paths that git has of it, relative to the directory, with `/`; `changed` those that differ from
    the commit or that git does not have and does not ignore; `url` is the remote's, without credentials.
    """

    commit: str
    url: str | None
    tracked: frozenset[str]
    changed: tuple[str, ...]
    ignored: IgnoreFilterManager
    prefix: str
    """Of the directory in the working tree: empty, or with `/` at its end."""


def read(directory: Path) -> Checkout | None:
    """Return what git knows of the directory; None where it is in no repository, or git knows nothing in it.

    Raises `BackendError` where the repository cannot be read or has no commit.
    """
    try:
        repository = Repo.discover(os.fspath(directory))
    except NotGitRepository:
        return None
    with repository:
        root = Path(os.fsdecode(repository.path)).resolve()
        prefix = directory.resolve().relative_to(root).as_posix()
        prefix = "" if prefix == "." else f"{prefix}/"
        tracked = _below(prefix, (os.fsdecode(path) for path in repository.open_index()))
        if not tracked:
            return None
        try:
            commit = repository.head().decode()
        except KeyError as error:
            raise BackendError(f"{root} has no commit yet: commit, or set allowDirty") from error
        # A stat cache that this would bring up to date is git's, not ours.
        status = porcelain.status(repository, untracked_files="all", optional_locks=False)
        return Checkout(
            commit=commit,
            url=_remote(repository),
            tracked=frozenset(tracked),
            changed=tuple(sorted(set(_below(prefix, _changes(status))))),
            ignored=IgnoreFilterManager.from_repo(repository),
            prefix=prefix,
        )


def _changes(status: Any) -> Iterable[str]:
    for paths in (*status.staged.values(), status.unstaged, status.untracked):
        for path in paths:
            yield os.fsdecode(path)


def _below(prefix: str, paths: Iterable[str]) -> list[str]:
    return [path[len(prefix) :] for path in paths if path.startswith(prefix)]


def _remote(repository: Repo) -> str | None:
    """Return the URL of `origin`, as MLflow's own tag has it, but without a password."""
    try:
        url = repository.get_config().get((b"remote", b"origin"), b"url").decode()
    except KeyError:
        return None
    return _CREDENTIALS.sub(r"\1", url) if not url.startswith("ssh://") else url
