from __future__ import annotations

from pathlib import Path

import pytest
from dulwich import porcelain
from dulwich.repo import Repo

from modelyard.backend import checkout
from modelyard.backend.collect import collect, refuse_changes
from modelyard.backend.errors import BackendError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a project in `ml`, all of it committed."""
    root = tmp_path / "repository"
    (root / "ml" / "src").mkdir(parents=True)
    (root / "ml" / "MLproject").write_text("name: churn\n")
    (root / "ml" / "src" / "train.py").write_text("print(1)\n")
    (root / "README.md").write_text("# churn\n")
    (root / ".gitignore").write_text("*.csv\n")
    porcelain.init(str(root))
    commit(root)
    return root


def commit(root: Path) -> str:
    porcelain.add(str(root), [str(path) for path in root.rglob("*") if path.is_file() and ".git" not in path.parts])
    made = porcelain.commit(str(root), message=b"Train", author=b"A <a@example.org>", committer=b"A <a@example.org>")
    return made.decode()


def read(directory: Path) -> checkout.Checkout:
    found = checkout.read(directory)
    assert found is not None
    return found


def test_a_clean_checkout_is_named_by_its_commit(repository: Path) -> None:
    found = read(repository / "ml")
    with Repo(str(repository)) as opened:
        assert found.commit == opened.head().decode()
    assert found.tracked == {"MLproject", "src/train.py"}
    assert found.changed == ()
    refuse_changes(found)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("edited", "src/train.py"),
        ("deleted", "MLproject"),
        ("new", "src/new.py"),
        ("staged", "src/staged.py"),
    ],
)
def test_what_differs_from_the_commit_is_refused_by_name(repository: Path, change: str, named: str) -> None:
    path = repository / "ml" / named
    if change == "deleted":
        path.unlink()
    else:
        path.write_text("changed\n")
    if change == "staged":
        porcelain.add(str(repository), [str(path)])
    with pytest.raises(BackendError, match=f"differs from commit [0-9a-f]{{12}}: {named}.*allowDirty"):
        refuse_changes(read(repository / "ml"))


@pytest.mark.parametrize("path", ["README.md", "ml/data.csv", "ml/mlruns/0/meta.yaml", "ml/src/__pycache__/train.pyc"])
def test_what_does_not_travel_may_differ(repository: Path, path: str) -> None:
    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_text("changed\n")
    refuse_changes(read(repository / "ml"))


def test_many_changes_are_counted(repository: Path) -> None:
    for number in range(12):
        (repository / "ml" / f"new{number:02}.py").touch()
    with pytest.raises(BackendError, match=r"new09\.py and 2 more"):
        refuse_changes(read(repository / "ml"))


def test_what_git_ignores_stays_and_what_it_has_travels(repository: Path) -> None:
    (repository / "ml" / "kept.csv").write_text("1\n")
    with Repo(str(repository)) as opened:
        opened.get_worktree().stage(["ml/kept.csv"])
    porcelain.commit(str(repository), message=b"Keep", author=b"A <a@example.org>", committer=b"A <a@example.org>")
    (repository / "ml" / "other.csv").write_text("2\n")
    assert set(collect(repository / "ml", read(repository / "ml"))) == {"MLproject", "src/train.py", "kept.csv"}


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://git.example/ml/churn.git", "https://git.example/ml/churn.git"),
        ("https://user:secret@git.example/ml/churn.git", "https://git.example/ml/churn.git"),
        ("git@git.example:ml/churn.git", "git@git.example:ml/churn.git"),
        ("ssh://git@git.example/ml/churn.git", "ssh://git@git.example/ml/churn.git"),
    ],
)
def test_the_remote_is_named_without_a_password(repository: Path, url: str, named: str) -> None:
    porcelain.remote_add(str(repository), "origin", url)
    assert read(repository).url == named


def test_without_a_remote_none_is_named(repository: Path) -> None:
    assert read(repository).url is None


def test_a_directory_that_git_knows_nothing_of_is_no_checkout(repository: Path, tmp_path: Path) -> None:
    (repository / "scratch").mkdir()
    assert checkout.read(repository / "scratch") is None
    assert checkout.read(tmp_path) is None


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    porcelain.init(str(tmp_path))
    (tmp_path / "MLproject").touch()
    porcelain.add(str(tmp_path), [str(tmp_path / "MLproject")])
    with pytest.raises(BackendError, match="no commit yet"):
        checkout.read(tmp_path)
