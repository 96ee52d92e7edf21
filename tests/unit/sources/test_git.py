from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain

from modelyard.api.project_files import Directory, GitFiles
from modelyard.sources import git, transport
from modelyard.sources.errors import SourceError, SourceNotFound, SourceUnreachable
from modelyard.sources.git import GitSource, bring
from modelyard.sources.limits import Limits
from tests.unit.sources.gitserver import Repository, over_http, over_tcp

Serve = Callable[[Repository], AbstractContextManager[str]]


def resolve(url: str, revision: str) -> str:
    return GitSource().find(url, revision).commit


def read(url: str, commit: str, path: str) -> Directory:
    return GitSource().directory(GitFiles(url, commit, path))


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
        assert resolve(url, revision) == commit


def test_a_moved_branch_resolves_anew_while_a_tag_stays(repository: Repository, serve: Serve) -> None:
    first = repository.commit(PROJECT)
    repository.tag("v1", annotated=True)
    second = repository.commit({"train.py": "print(2)"})
    with serve(repository) as url:
        assert resolve(url, "main") == second
        assert resolve(url, "v1") == first
        assert resolve(url, second[:10]) == second
        assert resolve(url, first[:7]) == first
        with pytest.raises(SourceNotFound, match="no branch, tag or commit"):
            resolve(url, "0000000")


def test_a_full_commit_is_itself_without_asking_anybody() -> None:
    assert resolve("http://127.0.0.1:1/x.git", "a" * 40) == "a" * 40


def test_a_directory_is_read_at_a_commit(repository: Repository, serve: Serve) -> None:
    first = repository.commit(PROJECT)
    second = repository.commit({"MLproject": "name: second"})
    with serve(repository) as url:
        assert read(url, first, ".").texts == {"MLproject": "name: first", "nested/deep/mlproject": "name: nested"}
        assert read(url, first, ".").paths == set(PROJECT)
        assert read(url, second, "").texts["MLproject"] == "name: second"
        assert read(url, second, "nested/deep/") == Directory(frozenset({"mlproject"}), {"mlproject": "name: nested"})
        assert read(url, second, "nested").paths == {"deep/mlproject"}


def test_an_unknown_revision_commit_or_directory_is_for_a_person_to_correct(
    repository: Repository, serve: Serve
) -> None:
    commit = repository.commit(PROJECT)
    with serve(repository) as url:
        with pytest.raises(SourceNotFound, match="no branch or tag 'mian'"):
            resolve(url, "mian")
        with pytest.raises(SourceNotFound, match="no commit " + "b" * 40):
            read(url, "b" * 40, ".")
        for path in ("other", "train.py", "../x"):
            with pytest.raises(SourceNotFound, match="no directory"):
                read(url, commit, path)


def test_a_repository_that_is_not_there_is_not_found(repository: Repository) -> None:
    repository.commit(PROJECT)
    with over_http(repository) as url, pytest.raises(SourceNotFound, match="no git repository at"):
        resolve(url.replace("churn", "other"), "main")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x.git", "git://127.0.0.1:1/x.git", "http://no-such.invalid/x.git"])
def test_a_server_that_does_not_answer_is_unreachable(url: str) -> None:
    with pytest.raises(SourceUnreachable):
        resolve(url, "main")


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
        resolve(f"{scheme}://127.0.0.1:{mute}/x.git", "main")


def test_an_exchange_ends_at_its_deadline_and_at_its_size(repository: Repository, serve: Serve, tmp_path: Path) -> None:
    commit = repository.commit({**PROJECT, "data.csv": "1,2,3\n" * 1000})
    with serve(repository) as url:
        with pytest.raises(SourceNotFound, match="sends more than"):
            bring(GitFiles(url, commit), None, tmp_path, (60, 100))
        with pytest.raises(SourceUnreachable, match="did not finish"):
            bring(GitFiles(url, commit), None, tmp_path, (0, 1 << 20))


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git", b"0fff"], ids=["http", "git"]
)
def test_a_server_that_sends_a_byte_now_and_then_is_cut_at_the_deadline(
    greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "RESOLVE_SECONDS", 0.6)
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            try:
                peer.sendall(greeting)
                while not over.wait(0.05):
                    peer.sendall(b"0")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        scheme = "http" if greeting.startswith(b"HTTP") else "git"
        began = time.monotonic()
        try:
            with pytest.raises(SourceUnreachable, match="did not finish within"):
                resolve(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x.git", "main")
        finally:
            over.set()
            thread.join()
    # The server goes on for as long as it is listened to.
    assert time.monotonic() - began < 30


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
            assert resolve(url, "main") == commit
            assert read(url, commit, ".").texts["MLproject"] == "name: first"
        finally:
            server.shutdown()
            thread.join()


def test_a_file_that_is_too_large_to_say_how_to_run_is_only_named(repository: Repository, serve: Serve) -> None:
    commit = repository.commit({**PROJECT, "data.txt": "x" * (1 << 20) + "x", "requirements.txt": "numpy"})
    with serve(repository) as url:
        found = read(url, commit, ".")
    assert "data.txt" in found.paths
    assert set(found.texts) == {"MLproject", "nested/deep/mlproject", "requirements.txt"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "nested/../../x", "nested/../train.py"])
def test_a_link_that_leads_elsewhere_is_refused(repository: Repository, serve: Serve, target: str) -> None:
    repository.commit(PROJECT)
    commit = repository.link("link.py", target)
    with serve(repository) as url, pytest.raises(SourceNotFound, match=r"link link\.py that leads out of the project"):
        read(url, commit, ".")


def test_more_files_than_a_project_may_have_are_refused(
    repository: Repository, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit({f"{index}.py": "" for index in range(5)})
    monkeypatch.setattr(git, "LIMITS", Limits(count=4))
    with serve(repository) as url, pytest.raises(SourceNotFound, match="more than 4 files"):
        read(url, commit, ".")


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no https://"):
        resolve(f"file://{tmp_path}", "main")
