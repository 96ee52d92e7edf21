from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelyard.api.project_files import Directory, GitFiles
from modelyard.sources import apart
from modelyard.sources.apart import SeparateGit
from modelyard.sources.credentials import Credentials
from modelyard.sources.errors import SourceNotFound, SourceUnreachable
from tests.unit.sources.gitserver import Asks, Repository, over_http

PROJECT = {"MLproject": "name: chürn", "train.py": "print(1)"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def test_a_repository_is_read_in_a_process_of_its_own(repository: Repository) -> None:
    commit = repository.commit(PROJECT)
    credentials = Credentials.of("deploy", {"token": b"t0ken"})
    with over_http(repository, guard=Asks.password("git", "t0ken")) as url:
        found = SeparateGit().find(url, "main", credentials)
        assert (found.commit, found.branch) == (commit, "main")
        directory = SeparateGit().directory(GitFiles(url, commit), credentials)
        assert directory == Directory(frozenset(PROJECT), {"MLproject": "name: chürn"})
        with pytest.raises(SourceNotFound, match="has no branch or tag 'mian'"):
            SeparateGit().find(url, "mian", credentials)
    with pytest.raises(SourceUnreachable, match="http://127"):
        SeparateGit().find(url, "main")


def test_a_repository_that_needs_too_much_memory_is_refused(repository: Repository) -> None:
    # A kilobyte for each megabyte that it becomes.
    commit = repository.commit({**PROJECT, "zeros.bin": "0" * (40 << 20)})
    with (
        over_http(repository) as url,
        pytest.raises(SourceNotFound, match="cannot be looked at with 64 MiB of memory"),
    ):
        SeparateGit(64 << 20).directory(GitFiles(url, commit))


def test_a_process_that_fails_by_itself_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SourceUnreachable, match="reading the repository ended with code 1"):
        SeparateGit().find("https://git.example/x.git", "main")


def test_a_process_that_does_not_end_is_ended(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = repository.commit(PROJECT)
    monkeypatch.setattr(apart, "_SPARE_SECONDS", 0.01)
    monkeypatch.setattr(apart, "READ_SECONDS", 0.01)
    with over_http(repository) as url, pytest.raises(SourceUnreachable, match="did not finish within"):
        SeparateGit().directory(GitFiles(url, commit))
