"""A git repository and the servers that offer it, all by dulwich."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

from dulwich import porcelain
from dulwich.objects import Commit, ObjectID, Tree
from dulwich.repo import Repo
from dulwich.server import DictBackend, TCPGitServer
from dulwich.web import HTTPGitApplication, WSGIRequestHandlerLogger, WSGIServerLogger

AUTHOR = b"Ada <ada@example.com>"

Answer = tuple[str, list[tuple[str, str]]]
"""Status and headers."""

Guard = Callable[[Mapping[str, Any]], Answer | None]
"""Answers a request, of its WSGI environment, in the server's stead."""


class Repository:
    """A repository with a working tree, to which commits are added."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.repo = Repo.init(directory, default_branch=b"main")

    def commit(self, files: Mapping[str, str], message: str = "change") -> str:
        """Write the files, commit them on the present branch and return the commit."""
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        porcelain.add(self.repo, [str(self.directory / name) for name in files])
        made = porcelain.commit(self.repo, message.encode(), author=AUTHOR, committer=AUTHOR)
        return made.decode()

    def link(self, name: str, target: str) -> str:
        """Commit a symbolic link."""
        (self.directory / name).symlink_to(target)
        porcelain.add(self.repo, [str(self.directory / name)])
        return porcelain.commit(self.repo, b"link", author=AUTHOR, committer=AUTHOR).decode()

    def submodules(self, modules: Mapping[str, tuple[str, str]]) -> str:
        """Commit submodules, (url, commit) by path, beside what is there."""
        store = self.repo.object_store
        head = store[self.repo.head()]
        assert isinstance(head, Commit)
        text = "".join(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n' for path, (url, _) in modules.items())
        self.commit({".gitmodules": text})
        head = store[self.repo.head()]
        assert isinstance(head, Commit)
        tree = store[head.tree]
        assert isinstance(tree, Tree)
        for path, (_, commit) in modules.items():
            assert "/" not in path
            tree.add(path.encode(), 0o160000, ObjectID(commit.encode()))
        store.add_object(tree)
        made = Commit()
        made.tree, made.parents = tree.id, [head.id]
        made.author = made.committer = AUTHOR
        made.author_time = made.commit_time = head.commit_time
        made.author_timezone = made.commit_timezone = 0
        made.message = b"submodules"
        store.add_object(made)
        self.repo.refs[b"refs/heads/main"] = made.id  # type: ignore[index]
        return made.id.decode()

    def tag(self, name: str, *, annotated: bool) -> None:
        porcelain.tag_create(self.repo, name.encode(), author=AUTHOR, message=b"a tag", annotated=annotated)

    def branch(self, name: str) -> None:
        porcelain.branch_create(self.repo, name)


@contextmanager
def over_http(
    repository: Repository,
    host: str = "127.0.0.1",
    *,
    guard: Guard = lambda _: None,
    others: Mapping[str, Repository] | None = None,
) -> Iterator[str]:
    """Serve by the smart HTTP protocol; yield the URL. `others` are served beside, by their path."""
    served = {b"/churn.git": repository.repo}
    served |= {f"/{path}".encode(): other.repo for path, other in (others or {}).items()}
    application = HTTPGitApplication(DictBackend(served))  # type: ignore[arg-type]

    def guarded(environ: dict[str, Any], start_response: Any) -> Any:
        if answer := guard(environ):
            start_response(*answer)
            return [b""]
        return application(environ, start_response)

    server = make_server(host, 0, guarded, handler_class=WSGIRequestHandlerLogger, server_class=WSGIServerLogger)
    with _running(server):
        yield f"http://{host}:{server.server_port}/churn.git"


@contextmanager
def over_tcp(repository: Repository, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve by git's own protocol; yield the URL."""
    server = TCPGitServer(DictBackend({b"/churn.git": repository.repo}), host, 0)  # type: ignore[arg-type]
    with _running(server):
        yield f"git://{host}:{server.server_address[1]}/churn.git"


@dataclass
class Asks:
    """Lets in only who shows what is asked for. `shown` are the values of `Authorization` that came."""

    wanted: str
    shown: list[str] = field(default_factory=list)

    @classmethod
    def password(cls, username: str, password: str) -> Asks:
        return cls(f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}")

    def __call__(self, environ: Mapping[str, Any]) -> Answer | None:
        self.shown.append(environ.get("HTTP_AUTHORIZATION", ""))
        if self.shown[-1] == self.wanted:
            return None
        return "401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"')]


@contextmanager
def _running(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
