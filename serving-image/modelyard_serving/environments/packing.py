"""An environment as one file: built once, by a Job, and unpacked by every pod.

A gzipped tar of the libraries alone, the same bytes for the same libraries. What is unpacked is verified while it is
read, and nothing of it is used before the last byte was.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from modelyard_serving.environments import interpreter
from modelyard_serving.environments.building import DESCRIPTION, Environment, description
from modelyard_serving.errors import Reason, StartupError

LEVEL = 1
"""Of gzip: libraries are packed once, but while a version waits to be served."""
MAX_BYTES = 32 << 30
MAX_MEMBERS = 500_000
_LEFT_OUT = ("uv_cache.json", ".lock")  # holds times


def pack(environment: Environment, archive: Path) -> str:
    """Write the archive; its digest, `sha256:<hex>`."""
    with archive.open("wb") as raw:
        hashing = _Writer(raw)
        with (
            gzip.GzipFile("", "wb", LEVEL, cast(BinaryIO, hashing), mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in _packed(environment.path):
                member = tarfile.TarInfo(path.relative_to(environment.path).as_posix())
                if path.is_symlink():
                    member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
                    tar.addfile(member)
                    continue
                status = path.stat()
                member.mode = 0o755 if status.st_mode & 0o100 else 0o644
                member.size = status.st_size
                with path.open("rb") as file:
                    tar.addfile(member, file)
    return f"sha256:{hashing.sha256.hexdigest()}"


def _packed(root: Path) -> Iterator[Path]:
    """Files and links in a fixed order; directories come into being by them."""
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
        relative = path.relative_to(root).as_posix()
        local = any(relative == each or relative.startswith(f"{each}/") for each in interpreter.LOCAL)
        if not local and path.name not in _LEFT_OUT and (path.is_symlink() or path.is_file()):
            yield path


def unpack(archive: Path, digest: str, root: Path) -> Environment:
    """The environment in the archive, below `root`; the one that is there already, if it is.

    Raises StartupError: DigestMismatch; EnvironmentFailed for what is no environment of this image's Python.
    """
    path = root / digest.replace("sha256:", "packed-")[:39]
    if not (path / DESCRIPTION).is_file():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=root) as made:
            unpacked = Path(made) / "environment"
            _unpack(archive, digest, unpacked)
            _check(unpacked)
            try:
                unpacked.replace(path)
            except OSError:
                # Another process was faster.
                if not (path / DESCRIPTION).is_file():
                    shutil.rmtree(path, ignore_errors=True)
                    unpacked.replace(path)
    interpreter.furnish(path)
    return Environment(path)


def _unpack(archive: Path, digest: str, target: Path) -> None:
    """Raises StartupError: DigestMismatch for other bytes, whatever else is wrong with them; EnvironmentFailed."""
    problem: StartupError | None = None
    with archive.open("rb") as raw:
        hashing = _Reader(raw)
        try:
            with tarfile.open(fileobj=cast(BinaryIO, hashing), mode="r|gz") as tar:
                _extract_all(tar, target)
        except StartupError as error:
            problem = error
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            problem = _failed(f"cannot be unpacked: {type(error).__name__}: {error}")
        while hashing.read(1 << 20):
            pass
    if (found := f"sha256:{hashing.sha256.hexdigest()}") != digest:
        raise StartupError(Reason.DIGEST_MISMATCH, f"the packed environment is {found}, not {digest}")
    if problem:
        raise problem


def _extract_all(tar: tarfile.TarFile, target: Path) -> None:
    size = 0
    for count, member in enumerate(tar):
        size += member.size
        if size > MAX_BYTES or count > MAX_MEMBERS:
            raise _failed("is larger than an environment may be")
        _extract(tar, member, target)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """A file, or a link to something inside; nothing else, and nowhere else."""
    name = PurePosixPath(member.name)
    parts = name.parts
    if not parts or name.is_absolute() or ".." in parts or not (member.isreg() or member.issym()):
        raise _failed(f"holds {member.name!r}, which is no file inside it")
    path = target / name
    if not path.parent.resolve().is_relative_to(target.resolve()):
        raise _failed(f"holds {member.name!r}, whose place is outside")
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        if not (path.parent / member.linkname).resolve().is_relative_to(target.resolve()):
            raise _failed(f"holds {member.name!r}, a link to the outside")
        path.symlink_to(member.linkname)
        return
    content = tar.extractfile(member)
    assert content is not None
    # "x": an archive that names a file twice, or writes through a link, is refused.
    with path.open("xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    path.chmod(0o755 if member.mode & 0o100 else 0o644)


def _check(unpacked: Path) -> None:
    try:
        said = json.loads((unpacked / DESCRIPTION).read_bytes())
        same = said == description(str(said.get("key")))
    except (OSError, ValueError, AttributeError) as error:
        raise _failed("is no environment") from error
    if not same:
        raise _failed(f"is for {said.get('python')} on {said.get('platform')}, not for this image")


def _failed(problem: str) -> StartupError:
    return StartupError(Reason.ENVIRONMENT_FAILED, f"the packed environment {problem}")


class _Writer:
    """Hashes what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _Reader:
    """Hashes what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data
