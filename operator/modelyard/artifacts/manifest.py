"""The manifest of a model's directory: what was registered is what is served.

Format: the text that sha256sum(1) prints for every file, `<64 hex digits>  <relative path>\\n`, sorted by path
(bytewise, as UTF-8). The digest is `sha256:` and the SHA-256 of that text, in hex. The serving image computes the same
digest from the files that it downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FileEntry:
    """One file: its path relative to the directory (separated by '/'), SHA-256 in hex, size in bytes.

    `etag` is the store's entity tag of the object that was hashed; it is no part of the file's identity.
    """

    path: str
    sha256: str
    size: int
    etag: str = field(default="", compare=False)


@dataclass(frozen=True)
class Manifest:
    """All files of a directory, sorted by path (bytewise, as UTF-8)."""

    files: tuple[FileEntry, ...]

    @classmethod
    def of(cls, files: Iterable[FileEntry]) -> Manifest:
        """Return the manifest of `files`, whatever their order."""
        return cls(tuple(sorted(files, key=lambda file: file.path.encode())))

    @property
    def text(self) -> str:
        """The manifest's text, one line per file."""
        return "".join(f"{file.sha256}  {file.path}\n" for file in self.files)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the text."""
        return f"sha256:{hashlib.sha256(self.text.encode()).hexdigest()}"


@dataclass(frozen=True)
class Difference:
    """How a directory differs from what was registered: the paths of files, each list sorted."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]

    def __str__(self) -> str:
        """Name at most three files of each list."""
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        for paths, one, many in (
            (self.missing, "is missing", "are missing"),
            (self.changed, "was changed", "were changed"),
            (self.added, "was added", "were added"),
        ):
            if paths:
                more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
                yield f"{', '.join(paths[:3])}{more} {one if len(paths) == 1 else many}"


def difference(registered: Iterable[FileEntry], present: Iterable[FileEntry]) -> Difference:
    """Return how `present` differs from `registered`."""
    wanted = {file.path: file.sha256 for file in registered}
    found = {file.path: file.sha256 for file in present}
    return Difference(
        missing=tuple(sorted(wanted.keys() - found.keys())),
        changed=tuple(sorted(path for path in wanted.keys() & found.keys() if wanted[path] != found[path])),
        added=tuple(sorted(found.keys() - wanted.keys())),
    )
