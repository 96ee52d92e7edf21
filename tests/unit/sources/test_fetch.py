from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.api.project_files import GitFiles, ImageFiles, KeptFiles, to_json
from modelyard.sources import fetch, keep
from tests.unit.serving.fetch.minio import BUCKET, MinioStore, run_minio
from tests.unit.sources.gitserver import Asks, Repository, over_http

PROJECT = {"MLproject": "name: churn", "train.py": "print(1)", "nested/deep/data.csv": "1,2"}


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Path]:
    """The root of a pod's files."""
    for directory in ("workspace", "workspace-data", "dev", "modelyard/git"):
        (tmp_path / "pod" / directory).mkdir(parents=True)
    (tmp_path / "pod/dev/termination-log").touch()
    before = os.umask(0o022)
    yield tmp_path / "pod"
    os.umask(before)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def git(files: GitFiles) -> dict[str, str]:
    return {"MODELYARD_PROJECT": to_json(files)}


def test_a_repository_comes_to_the_workspace_for_a_group_to_write(
    repository: Repository, pod: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository.directory / "run.sh").write_text("exit 0")
    (repository.directory / "run.sh").chmod(0o755)
    repository.commit({**PROJECT, "run.sh": "exit 0"})
    commit = repository.link("link.py", "train.py")
    with over_http(repository) as url:
        assert fetch.main(git(GitFiles(url, commit)), pod) == 0
    workspace = pod / "workspace"
    assert {path: (workspace / path).read_text() for path in PROJECT} == PROJECT
    assert (workspace / "link.py").readlink() == Path("train.py")
    assert (workspace / "nested/deep").stat().st_mode & 0o770 == 0o770
    assert (workspace / "train.py").stat().st_mode & 0o777 == 0o664
    assert subprocess.run([workspace / "run.sh"], check=False, executable="/bin/sh").returncode == 0
    assert capsys.readouterr().out == "5 files of the project\n"


def test_a_directory_of_it_is_the_whole_project(repository: Repository, pod: Path) -> None:
    commit = repository.commit(PROJECT)
    with over_http(repository) as url:
        assert fetch.main(git(GitFiles(url, commit, "nested")), pod) == 0
    assert [path.name for path in (pod / "workspace").iterdir()] == ["deep"]


def test_the_secret_is_read_where_it_is_mounted(repository: Repository, pod: Path) -> None:
    commit = repository.commit(PROJECT)
    (pod / "modelyard/git/token").write_text("t0ken\n")
    with over_http(repository, guard=Asks.password("git", "t0ken")) as url:
        assert fetch.main(git(GitFiles(url, commit, secret="deploy")), pod) == 0
    assert (pod / "workspace/train.py").exists()


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioStore]:
    with run_minio(tmp_path_factory.mktemp("minio")) as made:
        yield made


def kept(minio: MinioStore, monkeypatch: pytest.MonkeyPatch, content: keep.Content) -> KeptFiles:
    """Put a copy into the store, and its credentials into the environment, as the pod has them."""
    packed = io.BytesIO()
    keep.pack(content, packed)
    minio.put("projects", {"x.tar.gz": packed.getvalue()})
    for name, value in {**minio.env, "AWS_ENDPOINT_URL_S3": minio.endpoint}.items():
        monkeypatch.setenv(name, value)
    return KeptFiles(f"s3://{BUCKET}/projects/x.tar.gz", keep.digest(content), "configmap:churn")


def test_a_copy_comes_out_of_the_store_and_is_checked(
    minio: MinioStore, monkeypatch: pytest.MonkeyPatch, pod: Path
) -> None:
    files = kept(minio, monkeypatch, keep.in_memory({path: text.encode() for path, text in PROJECT.items()}))
    assert fetch.main({"MODELYARD_PROJECT": to_json(files)}, pod) == 0
    assert {path: (pod / "workspace" / path).read_text() for path in PROJECT} == PROJECT


def test_a_copy_of_another_content_is_not_run(minio: MinioStore, monkeypatch: pytest.MonkeyPatch, pod: Path) -> None:
    files = kept(minio, monkeypatch, keep.in_memory({"train.py": b"print(2)"}))
    assert fetch.main({"MODELYARD_PROJECT": to_json(KeptFiles(files.uri, "0" * 64, files.origin))}, pod) == 1
    assert "was altered" in (pod / "dev/termination-log").read_text()


def test_paths_are_looked_for_after_the_project_came(repository: Repository, pod: Path) -> None:
    commit = repository.commit(PROJECT)
    with over_http(repository) as url:
        for path, code in (("/workspace/nested/deep/data.csv", 0), ("/workspace/other.csv", 1)):
            wanted = json.dumps({"downloads": [], "paths": [path]})
            subprocess.run(["rm", "-r", pod / "workspace"], check=True)
            (pod / "workspace").mkdir()
            assert fetch.main({**git(GitFiles(url, commit)), "MODELYARD_PARAMETERS": wanted}, pod) == code
    assert (pod / "dev/termination-log").read_text() == (
        "Got value /workspace/other.csv for a path parameter, but no such file or directory was found."
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (git(GitFiles("git://127.0.0.1:1/x.git", "a" * 40)), "git://127.0.0.1:1/x.git: "),
        (git(GitFiles("git://127.0.0.1:1/x.git", "a" * 40, secret="deploy")), "Secret deploy holds nothing"),
        ({"MODELYARD_PROJECT": to_json(ImageFiles("/opt/churn"))}, "its own container copies it"),
        ({"MODELYARD_PROJECT": "{}"}, "does not name a project's files"),
    ],
)
def test_what_fails_leaves_one_line_for_the_kubelet(
    environment: dict[str, str], said: str, pod: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main(environment, pod) == 1
    log = (pod / "dev/termination-log").read_text()
    assert said in log
    assert len(log.splitlines()) == 1
    assert capsys.readouterr().err.strip() == log


def test_nothing_is_done_without_being_asked(pod: Path) -> None:
    assert fetch.main({}, pod) == 0
    assert list((pod / "workspace").iterdir()) == []
