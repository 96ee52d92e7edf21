"""Copies of projects in the artifact store, named by their content: what is edited afterwards harms no run.

<prefix>/projects/<digest>.tar.gz     regular files and symbolic links, sorted by path, without owners and times
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from modelyard.api.project_files import Directory
from modelyard.sources.archives import Readable, tar, unpack_tar
from modelyard.sources.errors import SourceNotFound
from modelyard.sources.limits import Limits, Meter, check_project_file, chosen, is_text

LIMITS = Limits(total=256 << 20, file=256 << 20, count=20_000)
_WHAT = "the kept project"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of a project. Its content is `data`, or at `source`; or it is a symbolic link to `link`."""

    path: str
    size: int = 0
    executable: bool = False
    link: str | None = None
    data: bytes | None = None
    source: Path | None = None

    def open(self) -> BinaryIO:
        """Open the content for reading."""
        if self.source is not None:
            return self.source.open("rb")
        return io.BytesIO(self.data or b"")


Content = tuple[File, ...]
"""A project's files, sorted by path."""


def key(digest: str) -> str:
    """Return where the copy is, below the artifact store's prefix."""
    return f"projects/{digest}.tar.gz"


def in_memory(files: Mapping[str, bytes]) -> Content:
    """Return files by name and content."""
    return tuple(File(path, len(files[path]), data=files[path]) for path in sorted(files))


def on_disk(root: Path) -> Content:
    """Return the files below a directory, which is the caller's own."""
    found = []
    for directory, folders, names in os.walk(root):
        for name in [*names, *(folder for folder in folders if (Path(directory) / folder).is_symlink())]:
            place = Path(directory) / name
            path = place.relative_to(root).as_posix()
            if place.is_symlink():
                found.append(File(path, link=str(place.readlink())))
            else:
                status = place.stat()
                found.append(File(path, status.st_size, executable=bool(status.st_mode & 0o100), source=place))
    return tuple(sorted(found, key=lambda file: file.path))


def digest(content: Content) -> str:
    """Return the SHA-256, in hex, of the names and contents; and of what is executable or a link, where it is."""
    total = _Digest()
    for file in content:
        total.begin(file)
        with file.open() as stream:
            while chunk := stream.read(_CHUNK):
                total.update(chunk)
    return total.hex()


def directory(content: Content) -> Directory:
    """Return what the files say of how they are run. Raises `SourceNotFound`."""
    files = {file.path: file for file in content}
    texts = {}
    for path in chosen({path: file.size for path, file in files.items() if is_text(path) and file.link is None}):
        with files[path].open() as stream:
            texts[path] = stream.read().decode(errors="replace")
    check_project_file(files, texts)
    return Directory(frozenset(files), texts)


def pack(content: Content, target: IO[bytes]) -> None:
    """Write the files as a .tar.gz; the same files make the same bytes."""
    with (
        gzip.GzipFile(filename="", fileobj=target, mode="wb", mtime=0, compresslevel=6) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in content:
            member = tarfile.TarInfo(file.path)
            if file.link is not None:
                member.type, member.linkname = tarfile.SYMTYPE, file.link
                archive.addfile(member)
                continue
            member.size, member.mode = file.size, 0o755 if file.executable else 0o644
            with file.open() as stream:
                archive.addfile(member, stream)


def unpack(stream: Readable, expected: str, destination: Path, limits: Limits = LIMITS) -> int:
    """Write a copy's files below an empty directory; return how many.

    Raises `SourceNotFound` where they are not those of the digest, or more than the limits allow.
    """
    unpack_tar(stream, destination, Meter(limits, _WHAT), _WHAT)
    content = on_disk(destination)
    if digest(content) != expected:
        raise SourceNotFound(f"{_WHAT} was altered: its files are not those of its name")
    return len(content)


def read_directory(stream: Readable) -> Directory:
    """Return what a copy's files say of how they are run, without writing any. Raises `SourceNotFound`."""
    meter, sizes, texts = Meter(LIMITS, _WHAT), {}, {}
    with tar(stream, _WHAT) as archive:
        for member in archive:
            meter.add(member.name, member.size)
            sizes[member.name] = member.size
            if member.isreg() and chosen({member.name: member.size}) and (file := archive.extractfile(member)):
                texts[member.name] = file.read().decode(errors="replace")
    wanted = chosen({path: sizes[path] for path in texts})
    check_project_file(sizes, texts)
    return Directory(frozenset(sizes), {path: texts[path] for path in wanted})


class _Digest:
    """As `modelyard.sources.configmap.digest` says, for any file."""

    def __init__(self) -> None:
        self._total = hashlib.sha256()

    def begin(self, file: File) -> None:
        name = file.path.encode(errors="surrogateescape")
        # No name has a NUL, so none of these is that of another file.
        if file.link is not None:
            name += b"\0link\0" + file.link.encode(errors="surrogateescape")
        elif file.executable:
            name += b"\0executable"
        self.update(len(name).to_bytes(8, "big") + name + file.size.to_bytes(8, "big"))

    def update(self, data: bytes) -> None:
        self._total.update(data)

    def hex(self) -> str:
        return self._total.hexdigest()
