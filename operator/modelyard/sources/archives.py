"""Unpacks archives that others have made: nothing is written outside, and nothing without bounds."""

from __future__ import annotations

import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, Self, cast

from modelyard.sources.errors import SourceNotFound
from modelyard.sources.limits import Meter, safe_link, safe_path

_CHUNK = 1 << 20
_LINK_LIMIT = 4096
_HEADER_LIMIT = 1 << 20
_CONTENTS_LIMIT = 16 << 20
_IN_MEMORY = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP_MARK = b"PK\5\6"


class _Member(tarfile.TarInfo):
    """Bounds what tarfile reads into memory: names and other headers that are stored as if they were files."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read one header."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _IN_MEMORY and member.size > _HEADER_LIMIT:
            raise SourceNotFound(f"the archive has a header of {member.size} bytes")
        return member


class Readable(Protocol):
    """What an archive is read from."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most so many bytes; none at the end."""


def unpack_tar(stream: Readable, destination: Path, meter: Meter, what: str) -> None:
    """Unpack a .tar.gz, read from its beginning to its end, below an existing directory. Raises `SourceNotFound`."""
    with tar(stream, what) as archive:
        for member in archive:
            if member.isdir():
                meter.add(member.name)
                continue
            path = safe_path(member.name, what)
            meter.add(path)
            if member.issym():
                link(destination, path, member.linkname, what)
            elif member.isreg() and (content := archive.extractfile(member)):
                write(destination, path, content.read, meter, executable=bool(member.mode & 0o100))
            else:
                raise SourceNotFound(f"{what} has {path}, which is neither a file, a directory nor a symbolic link")


def unpack_zip(file: Path, destination: Path, meter: Meter, what: str) -> None:
    """Unpack a .zip below an existing directory. Raises `SourceNotFound`."""
    _check_contents(file, what)
    with _readable(what), zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.is_dir():
                meter.add(member.filename)
                continue
            path = safe_path(member.filename, what)
            meter.add(path)
            # Zip files made on Unix have its modes here, those of Windows nothing.
            mode = member.external_attr >> 16
            if member.flag_bits & 1:
                raise SourceNotFound(f"{what} is encrypted")
            with archive.open(member) as content:
                if stat.S_ISLNK(mode):
                    link(destination, path, content.read(_LINK_LIMIT).decode(errors="surrogateescape"), what)
                else:
                    write(destination, path, content.read, meter, executable=bool(mode & 0o100))


def _check_contents(file: Path, what: str) -> None:
    """Refuse a .zip whose list of contents, which is read as a whole, is too large.

    Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.16.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(max(0, size - _ZIP_END.size - 0xFFFF))
        end = stream.read()
    start = end.rfind(_ZIP_MARK)
    if start < 0 or len(end) - start < _ZIP_END.size:
        raise SourceNotFound(f"{what} is no .zip file")
    if _ZIP_END.unpack_from(end, start)[5] > _CONTENTS_LIMIT:
        raise SourceNotFound(f"{what} has too many files")


@contextmanager
def tar(stream: Readable, what: str) -> Iterator[tarfile.TarFile]:
    """Open a .tar.gz that is read once; what is wrong with it is raised as `SourceNotFound`."""
    with (
        _readable(what),
        tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|gz", tarinfo=_Member) as archive,
    ):
        yield archive


def write(
    destination: Path, path: str, read: Callable[[int], bytes], meter: Meter, *, executable: bool = False
) -> None:
    """Write one file of a checked path, piece by piece."""
    place = _made(destination, path)
    size = 0
    with place.open("xb") as file:
        while chunk := read(_CHUNK):
            meter.grow(path, size, len(chunk))
            size += len(chunk)
            file.write(chunk)
    # The program may have another user of the same group.
    place.chmod(0o775 if executable else 0o664)


def link(destination: Path, path: str, target: str, what: str) -> None:
    """Make one symbolic link of a checked path. Raises `SourceNotFound` where it leads out of the project."""
    _made(destination, path).symlink_to(safe_link(path, target, what))


def only_directory(root: Path) -> Path:
    """Return the one directory that holds all the rest, as forges' archives have; else `root`."""
    found = list(root.iterdir())
    return found[0] if len(found) == 1 and found[0].is_dir() and not found[0].is_symlink() else root


def _made(destination: Path, path: str) -> Path:
    place = destination / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SourceNotFound(f"{path} is below what is a file") from error
    if place.is_symlink() or place.exists():
        raise SourceNotFound(f"{path} is there twice")
    return place


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceNotFound(f"{what} cannot be unpacked: {error or type(error).__name__}") from error
