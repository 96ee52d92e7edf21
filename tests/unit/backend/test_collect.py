from __future__ import annotations

import io
from pathlib import Path

import pytest

from modelyard.backend import collect as collecting
from modelyard.backend.collect import CONFIG_MAP_LIMIT, File, collect, content, in_config_map
from modelyard.backend.errors import BackendError
from modelyard.sources import keep
from modelyard.sources.limits import Limits


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_outside_of_git_everything_travels_but_caches_environments_and_local_runs(tmp_path: Path) -> None:
    write(tmp_path, "MLproject", "src/train.py", "data/wine.csv")
    write(tmp_path, ".git/config", ".venv/bin/python", "src/__pycache__/train.cpython-311.pyc", "mlruns/0/meta.yaml")
    write(tmp_path, "mlflow.db", ".DS_Store", "node_modules/a/index.js", "old.pyc")
    assert set(collect(tmp_path, None)) == {"MLproject", "src/train.py", "data/wine.csv"}


def test_gitignore_and_modelyardignore_leave_files_out(tmp_path: Path) -> None:
    write(tmp_path, "MLproject", "train.py", "data/big.csv", "data/small.csv", "models/a.pkl", "models/deep/b.pkl")
    (tmp_path / "data" / ".gitignore").write_text("big.csv\n")
    (tmp_path / ".modelyardignore").write_text("# what others trained\nmodels/\n")
    assert set(collect(tmp_path, None)) == {"MLproject", "train.py", "data/.gitignore", "data/small.csv"}


def test_a_link_to_a_file_of_the_project_is_that_file(tmp_path: Path) -> None:
    write(tmp_path, "train.py")
    (tmp_path / "main.py").symlink_to("train.py")
    assert collect(tmp_path, None)["main.py"] == File(b"train.py")


@pytest.mark.parametrize(
    ("link", "to", "message"),
    [
        ("data.csv", "../secret.csv", "data.csv is a link that leads out"),
        ("data", "..", "data is a link to a directory"),
        ("gone.csv", "nowhere.csv", "gone.csv is no regular file"),
    ],
)
def test_other_links_are_refused(tmp_path: Path, link: str, to: str, message: str) -> None:
    project = tmp_path / "project"
    write(tmp_path, "secret.csv", "project/MLproject")
    (project / link).symlink_to(to)
    with pytest.raises(BackendError, match=message):
        collect(project, None)


def test_too_much_is_refused_and_the_largest_files_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "LIMITS", Limits(total=3 << 20, file=3 << 20, count=10))
    (tmp_path / "a.bin").write_bytes(bytes(2 << 20))
    (tmp_path / "b.bin").write_bytes(bytes(2 << 20))
    with pytest.raises(BackendError, match=r"more than 3 MiB or 10 files.*b\.bin \(2 MiB\).*\.modelyardignore"):
        collect(tmp_path, None)


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no files"):
        collect(tmp_path, None)


@pytest.mark.parametrize(
    ("files", "fits"),
    [
        ({"MLproject": File(b"x"), "train.py": File(b"y")}, True),
        ({"src/train.py": File(b"y")}, False),
        ({"train model.py": File(b"y")}, False),
        ({"train.sh": File(b"y", executable=True)}, False),
        ({"data.csv": File(bytes(CONFIG_MAP_LIMIT - 8))}, True),
        ({"data.csv": File(bytes(CONFIG_MAP_LIMIT - 7))}, False),
    ],
)
def test_a_config_map_holds_what_is_flat_plain_and_small(files: dict[str, File], fits: bool) -> None:
    assert in_config_map(files) is fits


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "LIMITS", Limits(total=3 << 20, file=3 << 20, count=2))
    write(tmp_path, "a", "b")
    assert len(collect(tmp_path, None)) == 2
    write(tmp_path, "c")
    with pytest.raises(BackendError, match="or 2 files"):
        collect(tmp_path, None)


def test_files_are_kept_as_the_operator_reads_them(tmp_path: Path) -> None:
    files = {"b/run.sh": File(b"echo", executable=True), "a.py": File(b"print()")}
    packed = io.BytesIO()
    keep.pack(content(files), packed)
    packed.seek(0)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    assert keep.unpack(packed, keep.digest(content(files)), unpacked) == 2
    assert collect(unpacked, None) == files
    assert keep.digest(content(files)) != keep.digest(content({**files, "b/run.sh": File(b"echo")}))
