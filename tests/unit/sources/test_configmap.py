from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.sources import configmap, fetch

CONFIG_MAP = {"data": {"MLproject": "name: x", "train.py": "print('ü')"}, "binaryData": {"model.bin": "AAEC"}}


def test_each_key_is_a_file_text_or_binary() -> None:
    files = configmap.files(CONFIG_MAP)
    assert files == {"MLproject": b"name: x", "train.py": "print('ü')".encode(), "model.bin": b"\0\1\2"}
    assert configmap.directory(files).mlproject == "name: x"
    assert configmap.directory(files).names == {"MLproject", "train.py", "model.bin"}


@pytest.mark.parametrize(
    "other",
    [
        {"a": b"1", "b": b"3"},
        {"a": b"1", "c": b"2"},
        {"a": b"1b2"},
        {},
    ],
)
def test_the_digest_names_the_content(other: dict[str, bytes]) -> None:
    content = {"a": b"1", "b": b"2"}
    assert configmap.digest(content) == configmap.digest(dict(reversed(content.items())))
    assert configmap.digest(content) != configmap.digest(other)


def mounted(directory: Path, files: dict[str, bytes]) -> Path:
    """Lay files out as the kubelet does: links into a hidden directory of the moment."""
    (directory / "..2024").mkdir(parents=True)
    (directory / "..data").symlink_to("..2024")
    for name, content in files.items():
        (directory / "..2024" / name).write_bytes(content)
        (directory / name).symlink_to(f"..data/{name}")
    return directory


def test_the_init_container_copies_a_mounted_config_map(tmp_path: Path) -> None:
    files = configmap.files(CONFIG_MAP)
    source, destination = mounted(tmp_path / "source", files), tmp_path / "workspace"
    destination.mkdir()
    assert fetch.main(["--directory", str(source), configmap.digest(files), str(destination)]) == 0
    assert {path.name: path.read_bytes() for path in destination.iterdir()} == files
    assert not (destination / "train.py").is_symlink()


def test_a_config_map_that_was_edited_meanwhile_is_not_run(tmp_path: Path) -> None:
    source, log = mounted(tmp_path / "source", {"train.py": b"new"}), tmp_path / "log"
    log.touch()
    assert fetch.main(["--directory", str(source), configmap.digest({"train.py": b"old"}), str(tmp_path)], log) == 1
    assert log.read_text() == "the ConfigMap was edited after this trial was planned"


def test_wrong_arguments_are_told_apart_from_faults() -> None:
    assert fetch.main(["one"]) == 2
