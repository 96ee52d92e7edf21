from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard_serving.environments import interpreter, packing
from modelyard_serving.environments.building import DESCRIPTION, Environment, description
from modelyard_serving.errors import Reason, StartupError


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    root = tmp_path / "made"
    interpreter.furnish(root)
    (root / interpreter.SITE_PACKAGES / "only_there.py").write_text("ANSWER = 42\n")
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    (root / "bin" / "tool").chmod(0o755)
    (root / "bin" / "other").symlink_to("tool")
    (root / DESCRIPTION).write_text(str(description("k")).replace("'", '"'))
    return Environment(root)


def said(environment: Environment, program: str) -> str:
    command = [str(environment.python), "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd="/")
    return done.stdout.strip()


def test_an_unpacked_environment_works_and_has_the_images_server(environment: Environment, tmp_path: Path) -> None:
    digest = packing.pack(environment, tmp_path / "archive")
    unpacked = packing.unpack(tmp_path / "archive", digest, tmp_path / "pod")
    assert said(unpacked, "import only_there; print(only_there.ANSWER)") == "42"
    assert said(unpacked, "import sys; print(sys.prefix)") == str(unpacked.path)
    package = Path(said(unpacked, "import modelyard_serving; print(modelyard_serving.__file__)"))
    assert package.resolve() == Path(packing.__file__).resolve().parent.parent / "__init__.py"
    assert os.access(unpacked.path / "bin" / "tool", os.X_OK)
    assert (unpacked.path / "bin" / "other").readlink() == Path("tool")
    assert packing.unpack(tmp_path / "absent", digest, tmp_path / "pod") == unpacked


def test_the_same_libraries_make_the_same_archive(environment: Environment, tmp_path: Path) -> None:
    first = packing.pack(environment, tmp_path / "one")
    for path in environment.path.rglob("*.py"):
        os.utime(path, (1, 1))
    moved = environment.path.rename(tmp_path / "elsewhere")
    interpreter.furnish(moved)
    assert packing.pack(Environment(moved), tmp_path / "two") == first
    assert f"sha256:{hashlib.sha256((tmp_path / 'one').read_bytes()).hexdigest()}" == first


def test_an_archive_holds_nothing_of_the_container_it_was_made_in(environment: Environment, tmp_path: Path) -> None:
    packing.pack(environment, tmp_path / "archive")
    with tarfile.open(tmp_path / "archive") as tar:
        names = tar.getnames()
    assert set(names) == {
        "bin/other",
        "bin/tool",
        DESCRIPTION,
        interpreter.PATH_FILE,
        f"{interpreter.SITE_PACKAGES}/only_there.py",
    }


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member, b"content" if kind == tarfile.REGTYPE else b""


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([named("../escaped")], "'../escaped', which is no file inside it"),
        ([named("/escaped")], "which is no file inside it"),
        ([named("a/../../escaped")], "which is no file inside it"),
        ([named("link", tarfile.SYMTYPE, "/etc")], "a link to the outside"),
        ([named("a/link", tarfile.SYMTYPE, "../../etc")], "a link to the outside"),
        ([named("hard", tarfile.LNKTYPE, "/etc/passwd")], "which is no file inside it"),
        ([named("device", tarfile.CHRTYPE)], "which is no file inside it"),
        ([named("twice"), named("twice")], "FileExistsError"),
        ([named("file")], "is no environment"),
    ],
)
def test_what_is_no_environment_is_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], says: str, tmp_path: Path
) -> None:
    digest = archive(tmp_path / "archive", *members)
    with pytest.raises(StartupError) as raised:
        packing.unpack(tmp_path / "archive", digest, tmp_path / "pod")
    assert raised.value.reason is Reason.ENVIRONMENT_FAILED
    assert says in raised.value.message
    assert list((tmp_path / "pod").iterdir()) == []
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content + b"\0",
        lambda content: content[:-20],
        lambda content: content[:40] + b"other" + content[45:],
        lambda _: b"no archive",
        lambda _: b"",
    ],
)
def test_other_bytes_are_never_used(spoil: Callable[[bytes], bytes], environment: Environment, tmp_path: Path) -> None:
    digest = packing.pack(environment, tmp_path / "archive")
    (tmp_path / "archive").write_bytes(spoil((tmp_path / "archive").read_bytes()))
    with pytest.raises(StartupError) as raised:
        packing.unpack(tmp_path / "archive", digest, tmp_path / "pod")
    assert raised.value.reason is Reason.DIGEST_MISMATCH
    assert list((tmp_path / "pod").iterdir()) == []


def test_another_pythons_environment_is_of_no_use(environment: Environment, tmp_path: Path) -> None:
    text = (environment.path / DESCRIPTION).read_text()
    (environment.path / DESCRIPTION).write_text(text.replace(interpreter.LIB, "lib/python3.1"))
    digest = packing.pack(environment, tmp_path / "archive")
    with pytest.raises(StartupError, match=r"is for lib/python3\.1 on linux"):
        packing.unpack(tmp_path / "archive", digest, tmp_path / "pod")
