from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from modelyard.artifacts.manifest import FileEntry, Manifest, difference


def entry(path: str, content: bytes = b"x") -> FileEntry:
    return FileEntry(path, hashlib.sha256(content).hexdigest(), len(content))


def test_the_text_is_that_of_sha256sum(tmp_path: Path) -> None:
    contents = {"MLmodel": b"flavors: {}\n", "data/model.pkl": b"\x00\x01", "z.txt": b"", "ä.txt": b"umlaut"}
    for path, content in contents.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    paths = sorted(contents, key=str.encode)
    printed = subprocess.run(["sha256sum", *paths], cwd=tmp_path, capture_output=True, check=True).stdout
    manifest = Manifest.of(entry(path, content) for path, content in contents.items())
    assert manifest.text.encode() == printed
    assert manifest.digest == "sha256:" + hashlib.sha256(printed).hexdigest()


def test_files_are_sorted_bytewise() -> None:
    manifest = Manifest.of([entry("b"), entry("ä"), entry("a/b"), entry("B"), entry("a.b")])
    assert [file.path for file in manifest.files] == ["B", "a.b", "a/b", "b", "ä"]


@pytest.mark.parametrize(
    ("present", "text"),
    [
        ([entry("a"), entry("b")], ""),
        ([entry("a")], "b is missing"),
        ([entry("a"), entry("b", b"y")], "b was changed"),
        ([entry("a"), entry("b"), entry("c"), entry("d")], "c, d were added"),
        ([entry("a", b"y"), entry("c")], "b is missing; a was changed; c was added"),
        ([entry("a"), entry("b"), *(entry(f"x{n}") for n in range(5))], "x0, x1, x2 and 2 more were added"),
    ],
)
def test_differences_name_files(present: list[FileEntry], text: str) -> None:
    assert str(difference([entry("a"), entry("b")], present)) == text
