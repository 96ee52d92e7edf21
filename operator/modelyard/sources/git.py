"""Reads projects from git repositories, without a git binary and without a checkout in the operator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dulwich.objects import Commit, ObjectID, Tag
from dulwich.refs import Ref
from dulwich.repo import Repo

from modelyard.api.project_files import Directory, GitFiles
from modelyard.sources.address import shown
from modelyard.sources.checkout import Checkout, checkout, fetch, write
from modelyard.sources.credentials import Credentials
from modelyard.sources.errors import SourceNotFound
from modelyard.sources.limits import TEXT_LIMIT, Limits, Meter, check_project_file, chosen, is_text
from modelyard.sources.transport import Bounds, connection

RESOLVE_SECONDS = 20.0
READ_SECONDS = 60.0
READ_LIMIT = 256 << 20
LIMITS = Limits(file=256 << 20)
"""A file of a repository is in memory as a whole, when it is written."""

_REFS_LIMIT = 32 << 20

_FULL_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")
_BRANCHES = "refs/heads/"
_COMMITS_ALONE = b"tree:0"


@dataclass(frozen=True)
class Resolved:
    """What a revision names: a commit, and the branch, where it is one."""

    commit: str
    branch: str | None = None


class GitSource:
    """Resolves revisions and reads directories. Every call is bounded; faults are raised as `SourceError`."""

    def find(self, url: str, revision: str, credentials: Credentials | None = None) -> Resolved:
        """Return what a branch, a tag, HEAD or a commit's first digits name now; a full SHA is itself."""
        if _FULL_SHA.fullmatch(revision):
            return Resolved(revision)
        with Bounds(RESOLVE_SECONDS, _REFS_LIMIT) as bounds, connection(url, bounds, credentials) as (client, path):
            found = client.get_refs(path.encode())
        refs = {name: value for name, value in found.refs.items() if value}
        if name := _find(refs, revision):
            branch = name.removeprefix(_BRANCHES) if name.startswith(_BRANCHES) else None
            peeled = refs.get(Ref(f"{name}^{{}}".encode()))
            if peeled is None and name.startswith("refs/tags/"):
                return Resolved(_commit_of(url, refs[Ref(name.encode())].decode(), credentials))
            return Resolved((peeled or refs[Ref(name.encode())]).decode(), branch)
        if _SHORT_SHA.fullmatch(revision):
            return Resolved(_complete(url, revision, refs, credentials))
        raise SourceNotFound(f"{shown(url)} has no branch or tag {revision!r} (spec.project.git.revision)")

    def directory(self, files: GitFiles, credentials: Credentials | None = None) -> Directory:
        """Return what the project's directory holds, with its submodules."""
        with checkout(READ_SECONDS, READ_LIMIT, credentials, content=TEXT_LIMIT) as files_of:
            return _directory(files_of, files)


def bring(files: GitFiles, credentials: Credentials | None, destination: Path, bounds: tuple[float, int]) -> int:
    """Write a project's files below `destination`, within seconds and bytes; return how many. Raises `SourceError`."""
    with checkout(*bounds, credentials) as found:
        meter = Meter(LIMITS, "the project")
        entries = found.entries(found.place(files.url, files.commit, files.path), meter, submodules=files.submodules)
        return write(found, entries, destination, meter)


def _directory(found: Checkout, files: GitFiles) -> Directory:
    meter = Meter(LIMITS, "the project")
    place = found.place(files.url, files.commit, files.path)
    entries = {entry.path: entry for entry in found.entries(place, meter, submodules=files.submodules)}
    # What is too large to be read did not come, or is not looked at.
    sizes = {path: size for path in filter(is_text, entries) if (size := found.size(entries[path])) is not None}
    texts = {path: found.blob(entries[path].blob, path).decode(errors="replace") for path in chosen(sizes)}
    check_project_file(entries, texts)
    return Directory(frozenset(entries), texts)


def _find(refs: Mapping[Ref, ObjectID], revision: str) -> str | None:
    """Look a revision up as git does; return the ref's name."""
    names = [revision] if revision == "HEAD" or revision.startswith("refs/") else []
    names += [f"refs/tags/{revision}", f"{_BRANCHES}{revision}"]
    return next((name for name in names if Ref(name.encode()) in refs), None)


@contextmanager
def _scratch() -> Iterator[Repo]:
    with TemporaryDirectory(prefix="modelyard-git-") as directory:
        repository = Repo.init_bare(directory)
        try:
            yield repository
        finally:
            repository.close()


def _commit_of(url: str, sha: str, credentials: Credentials | None) -> str:
    """Return the commit of a tag whose server does not say what it points at."""
    with _scratch() as repository, Bounds(READ_SECONDS, READ_LIMIT) as bounds:
        with connection(url, bounds, credentials) as (client, path):
            fetch(client, path, repository, sha, _COMMITS_ALONE)
        for _ in range(10):
            found = repository.object_store[ObjectID(sha.encode())]
            if not isinstance(found, Tag):
                break
            sha = found.object[1].decode()
        return sha


def _complete(url: str, start: str, refs: Mapping[Ref, ObjectID], credentials: Credentials | None) -> str:
    """Return the commit that begins with these digits. Without a ref that names it, all commits have to be read."""
    matches = {value.decode() for name, value in refs.items() if value.startswith(start.encode())}
    if not matches:
        with _scratch() as repository, Bounds(READ_SECONDS, READ_LIMIT) as bounds:
            with connection(url, bounds, credentials) as (client, path):
                fetch(client, path, repository, None, _COMMITS_ALONE)
            store = repository.object_store
            found = (sha for sha in store.iter_prefix(start.encode()) if isinstance(store[sha], Commit))
            matches = {sha.decode() for sha in found}
    if len(matches) == 1:
        return matches.pop()
    if matches:
        raise SourceNotFound(f"{shown(url)} has more than one commit that begins with {start}: write more digits")
    raise SourceNotFound(f"{shown(url)} has no branch, tag or commit {start!r} (spec.project.git.revision)")
