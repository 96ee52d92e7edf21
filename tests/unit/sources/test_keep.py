from __future__ import annotations

import io
from pathlib import Path

import pytest

from modelyard.api.project_files import Directory
from modelyard.sources import keep
from modelyard.sources.errors import SourceNotFound
from modelyard.sources.keep import Content, File

FILES = {"MLproject": b"name: churn", "a/train.py": b"print(1)", "requirements.txt": b"numpy", "data.bin": b"\0\xff"}


def packed(content: Content) -> bytes:
    target = io.BytesIO()
    keep.pack(content, target)
    return target.getvalue()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for path, data in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def test_the_same_files_make_the_same_copy_wherever_they_are(project: Path) -> None:
    memory, disk = keep.in_memory(FILES), keep.on_disk(project)
    assert keep.digest(memory) == keep.digest(disk)
    assert packed(memory) == packed(disk)
    assert keep.key(keep.digest(memory)) == f"projects/{keep.digest(memory)}.tar.gz"


def test_what_may_be_executed_and_what_is_a_link_counts(project: Path) -> None:
    seen = {keep.digest(keep.on_disk(project))}
    (project / "a/train.py").chmod(0o755)
    seen.add(keep.digest(keep.on_disk(project)))
    (project / "link").symlink_to("a")
    seen.add(keep.digest(keep.on_disk(project)))
    (project / "link").unlink()
    (project / "link").symlink_to("MLproject")
    seen.add(keep.digest(keep.on_disk(project)))
    assert len(seen) == 4


def test_a_copy_is_unpacked_as_it_was(project: Path, tmp_path: Path) -> None:
    (project / "a/train.py").chmod(0o755)
    (project / "link").symlink_to("a/train.py")
    content = keep.on_disk(project)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    assert keep.unpack(io.BytesIO(packed(content)), keep.digest(content), workspace) == 5
    assert keep.digest(keep.on_disk(workspace)) == keep.digest(content)
    assert (workspace / "link").resolve() == (workspace / "a/train.py").resolve()
    assert (workspace / "a/train.py").stat().st_mode & 0o777 == 0o775


def test_a_copy_that_was_altered_is_refused(tmp_path: Path) -> None:
    other = packed(keep.in_memory({**FILES, "a/train.py": b"print(2)"}))
    with pytest.raises(SourceNotFound, match="the kept project was altered"):
        keep.unpack(io.BytesIO(other), keep.digest(keep.in_memory(FILES)), tmp_path)


def test_a_directory_has_all_paths_and_the_texts_that_say_how_to_run() -> None:
    content = keep.in_memory(FILES)
    wanted = Directory(frozenset(FILES), {"MLproject": "name: churn", "requirements.txt": "numpy"})
    assert keep.directory(content) == wanted
    assert keep.read_directory(io.BytesIO(packed(content))) == wanted


def test_texts_are_read_from_the_root_on_until_they_are_too_many() -> None:
    large = {f"deep/er/{index}.yaml": b"x" * (1 << 20) for index in range(9)}
    found = keep.directory(keep.in_memory({"conda.yaml": b"y" * 100, "b/c.toml": b"z", **large}))
    assert set(found.texts) == {"conda.yaml", "b/c.toml", *(f"deep/er/{index}.yaml" for index in range(7))}
    assert found.paths >= set(large)


@pytest.mark.parametrize("name", ["MLproject", "mlproject"])
def test_an_mlproject_file_that_is_too_large_is_told(name: str) -> None:
    with pytest.raises(SourceNotFound, match="the MLproject file cannot be read"):
        keep.directory((File(name, 2 << 20, data=b""),))
