from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from modelyard_serving.digest import digest, hash_directory, manifest


def make(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


FILES = {
    "MLmodel": b"flavors: {}\n",
    "model.pkl": b"\x80\x04",
    "code/a.py": b"",
    "data/\u00e9.bin": b"x",
    "data/z": b"y",
}


def test_the_manifest_is_what_sha256sum_prints(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    listed = subprocess.run(
        ["sha256sum", *sorted(FILES, key=str.encode)], cwd=tmp_path, capture_output=True, check=True, text=True
    )
    assert manifest(hash_directory(tmp_path)) == listed.stdout


def test_the_digest_is_the_hash_of_the_manifest() -> None:
    files = {"b": "1" * 64, "a": "2" * 64}
    text = f"{'2' * 64}  a\n{'1' * 64}  b\n"
    assert manifest(files) == text
    assert digest(files) == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_paths_are_sorted_by_their_bytes() -> None:
    names = ["a/b", "a-b", "a.b", "B", "é", "\U0001f600", "\uffff", "ab"]
    lines = manifest(dict.fromkeys(names, "0")).splitlines()
    assert [line.split("  ")[1] for line in lines] == sorted(names, key=lambda name: name.encode())


@pytest.mark.parametrize(
    "change",
    [
        {"model.pkl": b"\x80\x05"},
        {"more": b""},
        {"code/a.py": None},
    ],
    ids=["changed", "added", "missing"],
)
def test_any_change_of_the_files_changes_the_digest(tmp_path: Path, change: dict[str, bytes | None]) -> None:
    make(tmp_path, FILES)
    before = digest(hash_directory(tmp_path))
    for name, content in change.items():
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
    assert digest(hash_directory(tmp_path)) != before


def test_a_symbolic_link_changes_the_digest(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    before = digest(hash_directory(tmp_path))
    (tmp_path / "model.pkl").unlink()
    (tmp_path / "elsewhere").write_bytes(FILES["model.pkl"])
    (tmp_path / "model.pkl").symlink_to("elsewhere")
    (tmp_path / "elsewhere").rename(tmp_path.parent / "elsewhere")
    assert digest(hash_directory(tmp_path)) != before
