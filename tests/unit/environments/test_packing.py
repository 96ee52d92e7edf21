"""An environment as one archive: the same bytes for the same files, verified, and never outside of its directory."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from modelyard_environments.packing import pack, unpack
from modelyard_environments.running import Failed


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def environment(top: Path) -> Path:
    for name, text in {"bin/run": "#!/bin/sh\n", "lib/a.py": "1\n", "lib/b/c.py": "2\n"}.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (top / "bin/run").chmod(0o755)
    (top / "bin/python").symlink_to("/usr/bin/python3")
    (top / ".modelyard-cache").mkdir()
    (top / ".modelyard-cache/left").write_text("out")
    return top


def test_what_is_unpacked_is_what_was_packed_without_the_cache(tmp_path: Path) -> None:
    pack(environment(tmp_path / "one"), tmp_path / "archive")
    data = (tmp_path / "archive").read_bytes()
    assert unpack(io.BytesIO(data), digest(data), tmp_path / "two") == 4
    found = {path.relative_to(tmp_path / "two").as_posix() for path in (tmp_path / "two").rglob("*")}
    assert found == {"bin", "bin/run", "bin/python", "lib", "lib/a.py", "lib/b", "lib/b/c.py"}
    assert (tmp_path / "two/bin/run").stat().st_mode & 0o111
    assert not (tmp_path / "two/lib/a.py").stat().st_mode & 0o111
    assert (tmp_path / "two/bin/python").readlink() == Path("/usr/bin/python3")


def test_equal_files_make_equal_archives(tmp_path: Path) -> None:
    for name in ("one", "two"):
        pack(environment(tmp_path / name), tmp_path / f"{name}.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_other_bytes_are_refused_whatever_they_are(tmp_path: Path) -> None:
    pack(environment(tmp_path / "one"), tmp_path / "archive")
    data = (tmp_path / "archive").read_bytes()
    for other in (data[:-1], data + b"more", b"no archive at all"):
        with pytest.raises(Failed, match=f"archive is {digest(other)}, not {digest(data)}"):
            unpack(io.BytesIO(other), digest(data), tmp_path / digest(other))


def archive(*members: tuple[str, str | bytes]) -> bytes:
    """A name with bytes is a file, one with a text a link there, one with an empty text a device."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
                continue
            member.type, member.linkname = (tarfile.SYMTYPE, content) if content else (tarfile.FIFOTYPE, "")
            tar.addfile(member)
    return written.getvalue()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        pytest.param([("../out", b"x")], "no file inside it", id="above"),
        pytest.param([("/tmp/out", b"x")], "no file inside it", id="absolute"),
        pytest.param([("pipe", "")], "no file inside it", id="a pipe"),
        pytest.param([("lib", "/"), ("lib/out", b"x")], "whose place is outside", id="through a link"),
        pytest.param([("lib", "../elsewhere"), ("lib/out", b"x")], "whose place is outside", id="a relative link"),
        pytest.param([("a", b"x"), ("a", b"y")], "File exists", id="twice"),
        pytest.param([("a", "/tmp/out"), ("a", b"y")], "File exists", id="over a link"),
    ],
)
def test_nothing_is_written_outside(tmp_path: Path, members: list[tuple[str, str | bytes]], says: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    data = archive(*members)
    target = tmp_path / "environment"
    target.mkdir()
    with pytest.raises(Failed, match=says):
        unpack(io.BytesIO(data), digest(data), target)
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "out").exists()


def test_a_link_cannot_be_put_in_the_place_of_a_folder_that_was_written_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    data = archive(("lib/a", b"x"), ("lib", "../elsewhere"), ("lib/b", b"y"))
    with pytest.raises(Failed, match="File exists"):
        unpack(io.BytesIO(data), digest(data), tmp_path / "environment")
    assert not list((tmp_path / "elsewhere").iterdir())
