"""A commit of a git repository, with its submodules: fetched into a temporary bare repository, and walked there.

Nothing of it is a working tree: names, links and sizes are checked before anything is written.
"""

from __future__ import annotations

import io
import logging
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from dulwich.client import GitClient
from dulwich.config import ConfigFile
from dulwich.errors import GitProtocolError
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from modelyard.sources import archives
from modelyard.sources.address import joined, parse, shown
from modelyard.sources.credentials import FIELD, Credentials
from modelyard.sources.errors import SourceError, SourceNotFound
from modelyard.sources.limits import Meter, safe_link
from modelyard.sources.transport import Bounds, Refused, connection

_SUBMODULE = 0o160000
_MODULES_FILE = b".gitmodules"
_MODULES_LIMIT = 1 << 20
_SUBMODULES_LIMIT = 100
_NESTED_LIMIT = 10
_DEPTH_LIMIT = 64
_RESERVED = ("", ".", "..", ".git")

# That a server knows no filters is no news.
logging.getLogger("dulwich.client").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Entry:
    """One file. `link` is its target where it is a symbolic link; `blob` names its content."""

    path: str
    blob: bytes
    executable: bool = False
    link: str | None = None


@dataclass(frozen=True)
class Place:
    """A tree, and what its repository says of submodules: `inside` is the tree's path there."""

    url: str
    tree: Tree
    inside: bytes = b""
    modules: Mapping[bytes, str] = field(default_factory=dict)
    nested: int = 0

    def into(self, name: bytes, tree: Tree) -> Place:
        """Return the place of a directory in this one."""
        return Place(self.url, tree, self.at(name), self.modules, self.nested)

    def at(self, name: bytes) -> bytes:
        """Return the path in the repository of what has this name here."""
        return self.inside + b"/" + name if self.inside else name


class Checkout:
    """Commits that are fetched as they are needed, all within the bounds. Every method may raise `SourceError`."""

    def __init__(
        self, scratch: Path, bounds: Bounds, credentials: Credentials | None, *, content: int | None = None
    ) -> None:
        """`content`: files larger than so many bytes need not come, where the server can leave them out."""
        self._scratch = scratch
        self._repositories: list[Repo] = []
        """One for each exchange: what of it is shallow would only confuse the next server."""
        self._bounds = bounds
        self._credentials = credentials
        self._filter = None if content is None else b"blob:limit=%d" % (content + 1)
        self._url = ""
        self._fetched = 0

    def place(self, url: str, commit: str, path: str) -> Place:
        """Return a directory of the repository at a commit; it may be in a submodule."""
        self._url = url
        place = self._root(url, commit, self._credentials)
        for part in (part for part in path.split("/") if part not in ("", ".")):
            entries = {entry.path: entry for entry in place.tree.items()}
            entry = entries.get(part.encode())
            mode = entry.mode or 0 if entry else 0
            if entry and entry.path and mode == _SUBMODULE:
                place = self._submodule(place, entry.path, entry.sha, part)
                continue
            tree = self.object(entry.sha) if entry and stat.S_ISDIR(mode) else None
            if not isinstance(tree, Tree):
                raise SourceNotFound(f"commit {commit} has no directory {path!r} (spec.project.git.path)")
            place = place.into(part.encode(), tree)
        return place

    def entries(self, place: Place, meter: Meter, *, submodules: bool, above: str = "") -> Iterator[Entry]:
        """Give the files below a place, and count them; `above` is the path of the place in the project."""
        if above.count("/") > _DEPTH_LIMIT:
            raise SourceNotFound(f"the repository has directories in directories without end: {above[:200]}")
        for item in place.tree.items():
            name = (item.path or b"").decode(errors="surrogateescape")
            if name.lower() in _RESERVED or "/" in name or "\\" in name:
                raise SourceNotFound(f"the repository has an entry of the name {name!r}")
            path, mode = f"{above}{name}", item.mode or 0
            if mode == _SUBMODULE:
                if submodules:
                    module = self._submodule(place, item.path or b"", item.sha, path)
                    yield from self.entries(module, meter, submodules=True, above=f"{path}/")
            elif stat.S_ISDIR(mode):
                tree = self.object(item.sha)
                if not isinstance(tree, Tree):
                    raise SourceNotFound(f"the repository lacks the directory {path}")
                yield from self.entries(
                    place.into(item.path or b"", tree), meter, submodules=submodules, above=f"{path}/"
                )
            else:
                meter.add(path)
                link = None
                if stat.S_ISLNK(mode):
                    link = safe_link(path, self.blob(item.sha, path).decode(errors="surrogateescape"), "the project")
                yield Entry(path, item.sha, bool(mode & 0o111), link)

    def blob(self, sha: bytes, path: str) -> bytes:
        """Return a file's content."""
        blob = self.object(sha)
        if not isinstance(blob, Blob):
            raise SourceNotFound(f"the repository lacks the content of {path}")
        return blob.data

    def size(self, entry: Entry) -> int | None:
        """Return how many bytes a file has; None for a link, and for a file that did not come."""
        blob = self.object(entry.blob) if entry.link is None else None
        return len(blob.data) if isinstance(blob, Blob) else None

    def object(self, sha: bytes) -> object | None:
        """Return what is fetched already; None where it is not."""
        for repository in self._repositories:
            with suppress(KeyError):
                return repository.object_store[ObjectID(sha)]
        return None

    def close(self) -> None:
        """Close the repositories."""
        while self._repositories:
            self._repositories.pop().close()

    def _new(self) -> Repo:
        place = self._scratch / str(len(self._repositories))
        place.mkdir()
        self._repositories.append(Repo.init_bare(place))
        return self._repositories[-1]

    def _root(self, url: str, commit: str, credentials: Credentials | None) -> Place:
        found = self.object(commit.encode())
        if not isinstance(found, Commit):
            self._fetch(url, commit, credentials)
            found = self.object(commit.encode())
        if not isinstance(found, Commit):
            raise SourceNotFound(f"{shown(url)} has no commit {commit}")
        tree = self.object(found.tree)
        if not isinstance(tree, Tree):
            raise SourceNotFound(f"{shown(url)} lacks the files of commit {commit}")
        return Place(url, tree, modules=self._modules(tree))

    def _fetch(self, url: str, commit: str, credentials: Credentials | None) -> None:
        with connection(url, self._bounds, credentials) as (client, path):
            try:
                fetch(client, path, self._new(), commit, self._filter)
            except GitProtocolError as error:
                asked = not (isinstance(error, Refused) and error.status in (401, 403, 404, 410))
                if not asked or self._bounds.over:
                    raise
        if self.object(commit.encode()) is None:
            # Servers may refuse commits that no ref names, and shallow fetches altogether.
            with connection(url, self._bounds, credentials) as (client, path):
                fetch(client, path, self._new(), None, self._filter)

    def _submodule(self, place: Place, name: bytes, sha: bytes, path: str) -> Place:
        self._fetched += 1
        if self._fetched > _SUBMODULES_LIMIT or place.nested >= _NESTED_LIMIT:
            raise SourceNotFound(f"the repository has more than {_SUBMODULES_LIMIT} submodules, or nested too deeply")
        asked = place.modules.get(place.at(name))
        if asked is None:
            raise SourceNotFound(f"submodule {path} has no url in {_MODULES_FILE.decode()}")
        url = joined(place.url, asked)
        trusted = parse(self._url).trusts(parse(url))
        credentials = self._credentials if trusted or not self._credentials else self._credentials.public()
        try:
            found = self._root(url, sha.decode(), credentials)
        except SourceError as error:
            hint = f" ({FIELD} is for {parse(self._url).host} alone)" if self._credentials and not trusted else ""
            raise type(error)(f"submodule {path}: {error}{hint}") from error
        return Place(found.url, found.tree, modules=found.modules, nested=place.nested + 1)

    def _modules(self, tree: Tree) -> dict[bytes, str]:
        try:
            _, sha = tree[_MODULES_FILE]
        except KeyError:
            return {}
        text = self.blob(sha, _MODULES_FILE.decode())
        if len(text) > _MODULES_LIMIT:
            raise SourceNotFound(f"{_MODULES_FILE.decode()} is larger than 1 MiB")
        try:
            config = ConfigFile.from_file(io.BytesIO(text))
            sections = [section for section in config.sections() if section[0] == b"submodule"]
            return {
                config.get(section, b"path").strip(b"/"): config.get(section, b"url").decode() for section in sections
            }
        except (KeyError, ValueError) as error:
            raise SourceNotFound(f"{_MODULES_FILE.decode()} cannot be read: {error}") from error


@contextmanager
def checkout(
    seconds: float, limit: int, credentials: Credentials | None = None, *, content: int | None = None
) -> Iterator[Checkout]:
    """Give a checkout that may take so many seconds and receive so many bytes; its files go with the context."""
    with TemporaryDirectory(prefix="modelyard-git-") as scratch, Bounds(seconds, limit) as bounds:
        made = Checkout(Path(scratch), bounds, credentials, content=content)
        try:
            yield made
        finally:
            made.close()


def fetch(client: GitClient, path: str, repository: Repo, commit: str | None, filter_spec: bytes | None) -> None:
    """Fetch one commit without its history, or, with None, everything that the server's refs reach."""

    def wants(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:  # noqa: ARG001
        if commit:
            return [ObjectID(commit.encode())]
        # What a tag points at is told, too, and comes with the tag; it may not be asked for.
        return sorted({value for name, value in refs.items() if not name.endswith(b"^{}")})

    client.fetch(path, repository, determine_wants=wants, depth=1 if commit else None, filter_spec=filter_spec)


def write(files: Checkout, entries: Iterator[Entry], destination: Path, meter: Meter) -> int:
    """Write files below an existing directory; return how many. The meter's bytes are counted here."""
    count = 0
    for entry in entries:
        if entry.link is not None:
            archives.link(destination, entry.path, entry.link, "the project")
        else:
            content = io.BytesIO(files.blob(entry.blob, entry.path))
            archives.write(destination, entry.path, content.read, meter, executable=entry.executable)
        count += 1
    return count
