"""A model's directory, or a single file, on the local disk: nothing comes through that has another digest."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modelyard_serving import logs
from modelyard_serving.config import Source
from modelyard_serving.digest import digest, hash_directory
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.fetch.incoming import Incoming
from modelyard_serving.fetch.store import Replaced, Store, StoredObject, connect, store_errors
from modelyard_serving.fetch.transfer import Progress, download

MLMODEL = "MLmodel"
OPEN_FILES = 128
"""How many files are on their way at a time: each is an open one, or two."""
_S3_URI = re.compile(r"s3://([^/]+)/+(.*[^/])", re.DOTALL)


@dataclass(frozen=True)
class Fetched:
    """A verified model directory."""

    path: Path
    files: int
    bytes: int
    reused: bool
    """The directory was there already, from before the container restarted, and has the right digest."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """What went for `list`, `download` (hashing what arrives is part of it) and `verify` (what was left to hash)."""


def fetch(
    store: Store,
    source: Source,
    expected: str,
    directory: Path,
    arrived: Callable[[Path], None] | None = None,
) -> Fetched:
    """Download `source` to `<directory>/<digest>` and verify it, or verify what lies there already.

    What an earlier process left of large files is gone on with. Files that come from the node's cache, or from an
    earlier process, and turn out to be others than registered are downloaded once more, from the store alone.

    `arrived` is called, in another thread, once the MLmodel file is there, long before anything is verified: it may
    take hints from it and nothing else.

    Raises StartupError: ArtifactNotFound, ArtifactAccessDenied, ArtifactStoreUnreachable, DigestMismatch,
    ModelInvalid (a key that is no safe path), LoadFailed (the disk).
    """
    target = directory / expected.removeprefix("sha256:")
    try:
        if target.is_dir():
            files = hash_directory(target)
            if digest(files) == expected:
                return Fetched(target, len(files), sum((target / path).stat().st_size for path in files), reused=True)
            shutil.rmtree(target)

        # The final name appears only on a directory that has been verified.
        area = target.with_suffix(".incoming")
        wanted = _Wanted(expected, lambda: _list(store, source), digest, arrived)
        items = _verified(store, source, area, wanted)
        (area / "files").rename(target)
        shutil.rmtree(area)
    except OSError as error:
        raise StartupError(Reason.LOAD_FAILED, f"cannot write the model to {directory}: {error}") from error
    return Fetched(target, len(items), sum(item.size for item in items), reused=False, seconds=wanted.seconds)


def fetch_file(uri: str, expected: str, directory: Path, store: Store | None = None) -> Path:
    """Download the one object at an s3:// URI to `<directory>/<hex>/<name>`, and verify its SHA-256 (`sha256:…`).

    As `fetch` otherwise. Raises StartupError: also ConfigInvalid, for a URI that names no object.
    """
    if not (match := _S3_URI.fullmatch(uri)):
        raise StartupError(Reason.CONFIG_INVALID, f"{uri!r} is no s3://bucket/key")
    source = Source(match[1], match[2])
    name = safe_path(source.prefix.rpartition("/")[2])
    place = directory / expected.removeprefix("sha256:")
    reader = store or connect()
    try:
        if (place / name).is_file() and not (place / name).is_symlink():
            with (place / name).open("rb") as file:
                if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == expected:
                    return place / name
        shutil.rmtree(place, ignore_errors=True)

        def listed() -> dict[str, StoredObject]:
            found = [item for item in reader.list(source) if item.key == source.prefix]
            return {name: found[0]} if found else {}

        area = place.with_suffix(".incoming")
        wanted = _Wanted(expected, listed, lambda hashes: f"sha256:{hashes[name]}")
        _verified(reader, source, area, wanted)
        (area / "files").rename(place)
        shutil.rmtree(area)
    except OSError as error:
        raise StartupError(Reason.LOAD_FAILED, f"cannot write {name} to {directory}: {error}") from error
    return place / name


def safe_path(path: str) -> str:
    """`path` itself, if it stays inside the directory and can stand in a manifest; else StartupError(ModelInvalid)."""
    if any(part in ("", ".", "..") for part in path.split("/")) or any(char in path for char in "\\\n\r\0"):
        raise StartupError(Reason.MODEL_INVALID, f"the model holds a file with the unsafe name {path!r}")
    return path


@dataclass(frozen=True)
class _Wanted:
    """What is to be downloaded, and by what it is known."""

    digest: str
    list: Callable[[], dict[str, StoredObject]]
    """Relative path → object."""
    digest_of: Callable[[dict[str, str]], str]
    """Relative path → SHA-256, in hex: the digest."""
    arrived: Callable[[Path], None] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def _verified(store: Store, source: Source, area: Path, wanted: _Wanted) -> list[StoredObject]:
    """The objects whose content is below `area`/files now, and is what was registered."""
    with closing(store), store_errors(source):
        for again in (False, True):
            if again:
                shutil.rmtree(area, ignore_errors=True)
            try:
                begin = time.monotonic()
                items = wanted.list()
                wanted.seconds["list"] = time.monotonic() - begin
                if not items:
                    raise StartupError(Reason.ARTIFACT_NOT_FOUND, f"nothing is stored below {source}/")
                hashes, doubtful = _download(store, source, area, items, wanted, cached=not again)
            except Replaced as error:
                if again:
                    raise
                logs.warning("downloading_again", source=str(source), replaced=str(error))
                continue
            actual = wanted.digest_of(hashes)
            if actual == wanted.digest:
                return list(items.values())
            if again or not doubtful:
                shutil.rmtree(area, ignore_errors=True)
                raise StartupError(
                    Reason.DIGEST_MISMATCH, f"{source} has digest {actual}, but {wanted.digest} was registered"
                )
            # The store is not to blame for what others have kept: whoever it was, it is not asked again.
            logs.warning("downloading_again", source=str(source), digest=actual, registered=wanted.digest)
            if store.cache:
                store.cache.fail()
    raise AssertionError("unreachable")


def _download(
    store: Store, source: Source, area: Path, items: dict[str, StoredObject], wanted: _Wanted, *, cached: bool
) -> tuple[dict[str, str], bool]:
    """(relative path → SHA-256, whether some of it did not come from the store just now)."""
    _clear(area, set(items))
    progress = Progress(str(source), sum(item.size for item in items.values()))
    # The largest first, so that none of them is what all the others wait for in the end.
    # The MLmodel file before all, for what can be told from it.
    order = sorted(items, key=lambda path: (path != MLMODEL, -items[path].size))
    started = time.monotonic()
    hashing = 0.0
    hashes: dict[str, str] = {}
    doubtful = False
    for begin in range(0, len(order), OPEN_FILES):
        with ExitStack() as stack:
            files = {
                path: stack.enter_context(closing(_open(area, path, items[path])))
                for path in order[begin : begin + OPEN_FILES]
            }
            doubtful |= any(file.resumed for file in files.values())
            told = partial(wanted.arrived, area / "files" / MLMODEL) if wanted.arrived and MLMODEL in files else None
            wants = [(items[path], file) for path, file in files.items()]
            doubtful |= download(store, wants, progress, cached=cached, first=told)
            downloaded = time.monotonic()
            hashes |= {path: file.sha256() for path, file in files.items()}
            hashing += time.monotonic() - downloaded
    wanted.seconds["download"] = time.monotonic() - started - hashing
    wanted.seconds["verify"] = hashing
    return hashes, doubtful


def _open(area: Path, path: str, item: StoredObject) -> Incoming:
    target = area / "files" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return Incoming(target, item.size, item.etag, _journal(area, path))


def _journal(area: Path, path: str) -> Path:
    return area / "journals" / hashlib.sha256(path.encode()).hexdigest()


def _clear(area: Path, paths: set[str]) -> None:
    """Remove what is no remains of a file that is to be downloaded."""
    for path in sorted((area / "files").rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
            continue
        relative = path.relative_to(area / "files").as_posix()
        if path.is_symlink() or not path.is_file() or relative not in paths or not _journal(area, relative).is_file():
            path.unlink()
    (area / "files").mkdir(parents=True, exist_ok=True)
    (area / "journals").mkdir(exist_ok=True)


def _list(store: Store, source: Source) -> dict[str, StoredObject]:
    """Relative path → object; keys that only mark a directory are left out."""
    root = source.prefix + "/"
    found = store.list(Source(source.bucket, root))
    return {safe_path(item.key.removeprefix(root)): item for item in found if not item.key.endswith("/")}
