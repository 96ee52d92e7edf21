"""Reads projects from git repositories, without a git binary and without a checkout in the operator."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dulwich.client import GitClient
from dulwich.errors import GitProtocolError
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from modelyard.projects.mlproject import find_mlproject
from modelyard.sources.errors import SourceNotFound
from modelyard.sources.transport import Bounds, connection

RESOLVE_SECONDS = 20.0
READ_SECONDS = 60.0
READ_LIMIT = 256 << 20
_REFS_LIMIT = 32 << 20
_FILE_LIMIT = 1 << 20

_FULL_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")
_SUBMODULE = 0o160000


@dataclass(frozen=True)
class Directory:
    """A project's directory: the names in it, and the text of its MLproject file, if it has one."""

    names: frozenset[str]
    mlproject: str | None


class GitSource:
    """Resolves revisions and reads directories. Every call is bounded; faults are raised as `SourceError`."""

    def resolve(self, url: str, revision: str) -> str:
        """Return the commit that a branch, a tag or HEAD names now; a full SHA is itself."""
        if _FULL_SHA.fullmatch(revision):
            return revision
        with connection(url, Bounds(RESOLVE_SECONDS, _REFS_LIMIT)) as (client, path):
            refs = client.get_refs(path.encode()).refs
        found = _find({name: value for name, value in refs.items() if value}, revision)
        if found is None:
            raise SourceNotFound(f"{url} has no branch or tag {revision!r}; a commit is named by its 40 hex digits")
        return found

    def read(self, url: str, commit: str, path: str) -> Directory:
        """Return what the project's directory holds at a commit."""
        with fetched(url, commit, READ_SECONDS, READ_LIMIT) as repository:
            tree = directory(repository, commit, path)
            names = frozenset(entry.path.decode(errors="replace") for entry in tree.items() if entry.path)
            name = find_mlproject(names)
            text = _text(repository, tree[name.encode()][1]) if name else None
        return Directory(names, text)


@contextmanager
def fetched(url: str, commit: str, seconds: float, limit: int) -> Iterator[Repo]:
    """Fetch one commit into a temporary bare repository, which goes with the context. Raises `SourceError`."""
    with TemporaryDirectory(prefix="modelyard-git-") as scratch:
        repository = Repo.init_bare(scratch)
        try:
            with connection(url, Bounds(seconds, limit)) as (client, path):
                with suppress(GitProtocolError):
                    _fetch(client, path, repository, commit)
                if _object(repository, commit.encode()) is None:
                    # Servers may refuse commits that no ref names, and shallow fetches altogether.
                    _fetch(client, path, repository, None)
            if not isinstance(_object(repository, commit.encode()), Commit):
                raise SourceNotFound(f"{url} has no commit {commit}")
            yield repository
        finally:
            repository.close()


def directory(repository: Repo, commit: str, path: str) -> Tree:
    """Return the tree of a directory at a commit. Raises `SourceNotFound`."""
    found = _object(repository, commit.encode())
    assert isinstance(found, Commit)
    tree = _object(repository, found.tree)
    for part in (part for part in path.split("/") if part not in ("", ".")):
        names = {entry.path: entry for entry in tree.items()} if isinstance(tree, Tree) else {}
        entry = names.get(part.encode())
        tree = _object(repository, entry.sha) if entry and entry.mode and stat.S_ISDIR(entry.mode) else None
    if not isinstance(tree, Tree):
        raise SourceNotFound(f"commit {commit} has no directory {path!r}")
    return tree


def write(repository: Repo, tree: Tree, destination: Path) -> int:
    """Write a tree's files below an existing directory; return how many. Submodules are left empty."""
    count = 0
    for entry in tree.items():
        name = (entry.path or b"").decode(errors="surrogateescape")
        if name in ("", ".", "..", ".git") or "/" in name:
            raise SourceNotFound(f"the repository has an entry of the name {name!r}")
        target, mode = destination / name, entry.mode or 0
        if stat.S_ISDIR(mode) or mode == _SUBMODULE:
            target.mkdir()
            subtree = _object(repository, entry.sha)
            if isinstance(subtree, Tree):
                count += write(repository, subtree, target)
            continue
        blob = _object(repository, entry.sha)
        if not isinstance(blob, Blob):
            raise SourceNotFound(f"the repository lacks the content of {name}")
        if stat.S_ISLNK(mode):
            target.symlink_to(blob.data.decode(errors="surrogateescape"))
        else:
            with target.open("xb") as file:
                file.write(blob.data)
            target.chmod(0o775 if mode & 0o111 else 0o664)
        count += 1
    return count


def _find(refs: Mapping[Ref, ObjectID], revision: str) -> str | None:
    """Look a revision up as git does; a tag object counts as the commit it points at."""
    names = [revision] if revision == "HEAD" or revision.startswith("refs/") else []
    names += [f"refs/tags/{revision}", f"refs/heads/{revision}"]
    for name in names:
        for candidate in (Ref(f"{name}^{{}}".encode()), Ref(name.encode())):
            if candidate in refs:
                return refs[candidate].decode()
    if _SHORT_SHA.fullmatch(revision):
        matches = {value.decode() for value in refs.values() if value.startswith(revision.encode())}
        if len(matches) == 1:
            return matches.pop()
    return None


def _fetch(client: GitClient, path: str, repository: Repo, commit: str | None) -> None:
    """Fetch one commit without its history, or, with None, everything that the server's refs reach."""

    def wants(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:  # noqa: ARG001
        return [ObjectID(commit.encode())] if commit else sorted(set(refs.values()))

    client.fetch(path, repository, determine_wants=wants, depth=1 if commit else None)


def _object(repository: Repo, sha: bytes) -> object | None:
    try:
        return repository.object_store[ObjectID(sha)]
    except KeyError:
        return None


def _text(repository: Repo, sha: bytes) -> str:
    blob = _object(repository, sha)
    if not isinstance(blob, Blob) or len(blob.data) > _FILE_LIMIT:
        raise SourceNotFound("the MLproject file cannot be read: it is no file, or larger than 1 MiB")
    return blob.data.decode(errors="replace")
