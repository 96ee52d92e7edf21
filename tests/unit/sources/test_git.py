from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain

from modelyard.sources import fetch, git, transport
from modelyard.sources.errors import SourceError, SourceNotFound, SourceUnreachable
from modelyard.sources.git import GitSource
from tests.unit.sources.gitserver import Repository, over_http, over_tcp

Serve = Callable[[Repository], AbstractContextManager[str]]
PROJECT = {"MLproject": "name: first", "train.py": "print(1)", "nested/deep/mlproject": "name: nested"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture(params=[over_http, over_tcp], ids=["http", "git"])
def serve(request: pytest.FixtureRequest) -> Serve:
    chosen: Serve = request.param
    return chosen


@pytest.mark.parametrize("revision", ["main", "HEAD", "refs/heads/main", "v1", "v2", "feature/x"])
def test_a_branch_or_tag_is_resolved_to_its_commit(repository: Repository, serve: Serve, revision: str) -> None:
    commit = repository.commit(PROJECT)
    repository.tag("v1", annotated=False)
    repository.tag("v2", annotated=True)
    repository.branch("feature/x")
    with serve(repository) as url:
        assert GitSource().resolve(url, revision) == commit


def test_a_moved_branch_resolves_anew_while_a_tag_stays(repository: Repository, serve: Serve) -> None:
    first = repository.commit(PROJECT)
    repository.tag("v1", annotated=True)
    second = repository.commit({"train.py": "print(2)"})
    with serve(repository) as url:
        assert GitSource().resolve(url, "main") == second
        assert GitSource().resolve(url, "v1") == first
        assert GitSource().resolve(url, second[:10]) == second


def test_a_full_commit_is_itself_without_asking_anybody() -> None:
    assert GitSource().resolve("http://127.0.0.1:1/x.git", "a" * 40) == "a" * 40


def test_a_directory_is_read_at_a_commit(repository: Repository, serve: Serve) -> None:
    first = repository.commit(PROJECT)
    second = repository.commit({"MLproject": "name: second"})
    with serve(repository) as url:
        source = GitSource()
        assert source.read(url, first, ".").mlproject == "name: first"
        assert source.read(url, second, "").mlproject == "name: second"
        nested = source.read(url, second, "nested/deep/")
        assert (set(nested.names), nested.mlproject) == ({"mlproject"}, "name: nested")
        assert source.read(url, second, "nested").mlproject is None


def test_an_unknown_revision_commit_or_directory_is_for_a_person_to_correct(
    repository: Repository, serve: Serve
) -> None:
    commit = repository.commit(PROJECT)
    with serve(repository) as url:
        with pytest.raises(SourceNotFound, match="no branch or tag 'mian'"):
            GitSource().resolve(url, "mian")
        with pytest.raises(SourceNotFound, match="no commit " + "b" * 40):
            GitSource().read(url, "b" * 40, ".")
        for path in ("other", "train.py", "../x"):
            with pytest.raises(SourceNotFound, match="no directory"):
                GitSource().read(url, commit, path)


def test_a_repository_that_is_not_there_is_not_found(repository: Repository) -> None:
    repository.commit(PROJECT)
    with over_http(repository) as url, pytest.raises(SourceNotFound, match="no git repository at"):
        GitSource().resolve(url.replace("churn", "other"), "main")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x.git", "git://127.0.0.1:1/x.git", "http://no-such.invalid/x.git"])
def test_a_server_that_does_not_answer_is_unreachable(url: str) -> None:
    with pytest.raises(SourceUnreachable):
        GitSource().resolve(url, "main")


@pytest.fixture
def mute() -> Iterator[int]:
    """Accept connections and say nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_a_server_that_says_nothing_is_unreachable_in_time(
    mute: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_READ_SECONDS", 0.2)
    with pytest.raises(SourceUnreachable):
        GitSource().resolve(f"{scheme}://127.0.0.1:{mute}/x.git", "main")


def test_an_exchange_ends_at_its_deadline_and_at_its_size(repository: Repository, serve: Serve) -> None:
    commit = repository.commit({**PROJECT, "data.csv": "1,2,3\n" * 1000})
    with serve(repository) as url:
        with pytest.raises(SourceNotFound, match="sends more than"), git.fetched(url, commit, 60, 100):
            pytest.fail("the limit was passed")
        with pytest.raises(SourceUnreachable, match="did not finish"), git.fetched(url, commit, -1, 1 << 20):
            pytest.fail("the deadline was passed")


def test_a_dumb_http_server_does_as_well(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(PROJECT)
    porcelain.update_server_info(repository.repo)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(repository.directory))

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/.git"
        try:
            assert GitSource().resolve(url, "main") == commit
            assert GitSource().read(url, commit, ".").mlproject == "name: first"
        finally:
            server.shutdown()
            thread.join()


def test_the_init_container_writes_the_projects_directory(repository: Repository, serve: Serve, tmp_path: Path) -> None:
    (repository.directory / "run.sh").write_text("exit 0")
    (repository.directory / "run.sh").chmod(0o755)
    (repository.directory / "link.py").symlink_to("train.py")
    commit = repository.commit({**PROJECT, "run.sh": "exit 0", "link.py": "print(1)"})
    destination = tmp_path / "workspace"
    destination.mkdir()
    with serve(repository) as url:
        assert fetch.main([url, commit, ".", str(destination)]) == 0
    assert (destination / "train.py").read_text() == "print(1)"
    assert (destination / "nested/deep/mlproject").read_text() == "name: nested"
    assert (destination / "link.py").is_symlink()
    assert subprocess.run([destination / "run.sh"], check=False, executable="/bin/sh").returncode == 0


def test_a_fetch_that_fails_leaves_one_line_for_the_kubelet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    assert fetch.main(["git://127.0.0.1:1/x.git", "a" * 40, ".", str(tmp_path)], log) == 1
    assert log.read_text().startswith("git://127.0.0.1:1/x.git: ")
    assert len(log.read_text().splitlines()) == 1
    assert capsys.readouterr().err.strip() == log.read_text()


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no http"):
        GitSource().resolve(f"file://{tmp_path}", "main")
