from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.sources import archives
from modelyard.sources.archives import only_directory, unpack_tar, unpack_zip
from modelyard.sources.errors import SourceNotFound
from modelyard.sources.limits import Limits, Meter

SMALL = Limits(total=4000, file=2000, count=5)


def tarred(*members: tuple[str, bytes | str | None], mode: int = 0o644, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A .tar.gz of files (bytes), symbolic links (str) and entries of another kind (None)."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for path, content in members:
            member = tarfile.TarInfo(path)
            member.mode = mode
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            elif content is None:
                member.type, member.linkname = kind, "train.py"
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def zipped(*members: tuple[str, bytes | str], mode: int = 0o644) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in members:
            member = zipfile.ZipInfo(path)
            link = isinstance(content, str)
            member.external_attr = ((stat.S_IFLNK if link else stat.S_IFREG) | mode) << 16
            archive.writestr(member, content)
    return target.getvalue()


def unpack(data: bytes, root: Path, limits: Limits = SMALL) -> None:
    """Unpack either kind below root/files."""
    (root / "files").mkdir()
    meter = Meter(limits, "s3://b/x")
    if data[:2] == b"PK":
        (root / "archive").write_bytes(data)
        unpack_zip(root / "archive", root / "files", meter, "s3://b/x")
    else:
        unpack_tar(io.BytesIO(data), root / "files", meter, "s3://b/x")


Make = Callable[..., bytes]
both = pytest.mark.parametrize("make", [tarred, zipped], ids=["tar", "zip"])


@both
def test_files_and_links_are_unpacked_for_a_group_to_write(make: Make, tmp_path: Path) -> None:
    unpack(make(("MLproject", b"name: x"), ("a/b/run.sh", b"exit 0"), ("a/link.sh", "b/run.sh")), tmp_path)
    root = tmp_path / "files"
    assert (root / "MLproject").read_bytes() == b"name: x"
    assert (root / "a/link.sh").read_bytes() == b"exit 0"
    assert (root / "MLproject").stat().st_mode & 0o777 == 0o664


@both
def test_what_may_be_executed_still_may(make: Make, tmp_path: Path) -> None:
    unpack(make(("run.sh", b"exit 0"), mode=0o755), tmp_path)
    assert (tmp_path / "files/run.sh").stat().st_mode & 0o777 == 0o775


@both
@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../x", b"")], r"a file named '\.\./x'"),
        ([("/etc/x", b"")], "a file named '/etc/x'"),
        ([("a/../../x", b"")], "which is not taken"),
        ([("a\\..\\x", b"")], "which is not taken"),
        ([("d" + "/d" * 70, b"")], "which is not taken"),
        ([("link", "/etc/passwd")], "symbolic link link that leads out of the project"),
        ([("a/link", "../../x")], "leads out of the project"),
        ([("up", "."), ("link", "up/../x")], "leads out of the project"),
        ([("train.py", b"1"), ("train.py", b"2")], "train.py is there twice"),
        ([("link", "other"), ("link", b"2")], "link is there twice"),
        ([("a", b"1"), ("a/b", b"2")], "is below what is a file"),
        ([(f"{index}.py", b"") for index in range(6)], "more than 5 files"),
        ([("data.csv", b"0" * 2001)], r"data\.csv of s3://b/x is larger than 1 KiB: data is better kept in the object"),
        ([(f"{index}.csv", b"0" * 1900) for index in range(3)], "is larger than 3 KiB"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_leads_elsewhere_or_is_too_much_is_refused_with_words(
    make: Make, members: list[tuple[str, bytes | str]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceNotFound, match=said):
        unpack(make(*members), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"files", "archive"}


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE], ids=["hard", "device", "pipe"])
def test_only_files_directories_and_symbolic_links_are_taken(kind: bytes, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="other, which is neither a file, a directory nor a symbolic link"):
        unpack(tarred(("other", None), kind=kind), tmp_path)


def test_a_small_archive_of_a_large_file_is_not_unpacked_to_its_end(tmp_path: Path) -> None:
    bomb = tarred(("zeros", bytes(64 << 20)))
    assert len(bomb) < 100_000
    limits = Limits(total=8 << 20, file=8 << 20)
    with pytest.raises(SourceNotFound, match="zeros of s3://b/x is larger than 8 MiB"):
        unpack(bomb, tmp_path, limits)
    assert (tmp_path / "files/zeros").stat().st_size <= 8 << 20


def test_a_header_that_claims_to_be_large_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with pytest.raises(SourceNotFound, match="has a header of 1073741824 bytes"):
        unpack(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096)), tmp_path)


def test_a_list_of_contents_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_CONTENTS_LIMIT", 100)
    with pytest.raises(SourceNotFound, match="has too many files"):
        unpack(zipped(*((f"{index}.py", b"") for index in range(5))), tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"no archive",
        b"PK no archive either",
        tarred(("MLproject", b"name: x" * 100))[:-40],
        gzip.compress(b"x" * 600),
        zipped(("MLproject", b"name: x"))[:-30],
    ],
    ids=["no archive", "no zip", "short tar", "no tar", "short zip"],
)
def test_what_is_damaged_is_told(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"s3://b/x (cannot be unpacked|is no \.zip file)"):
        unpack(data, tmp_path)


def test_the_one_directory_of_a_forges_archive_is_the_project(tmp_path: Path) -> None:
    unpack(tarred(("churn-1.4/MLproject", b"name: x"), ("churn-1.4/train.py", b"")), tmp_path)
    assert only_directory(tmp_path / "files") == tmp_path / "files/churn-1.4"
    (tmp_path / "files/README").touch()
    assert only_directory(tmp_path / "files") == tmp_path / "files"
