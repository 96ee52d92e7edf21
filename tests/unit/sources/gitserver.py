"""A git repository and the servers that offer it, all by dulwich."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import make_server

from dulwich import porcelain
from dulwich.repo import Repo
from dulwich.server import BackendRepo, DictBackend, TCPGitServer
from dulwich.web import HTTPGitApplication, WSGIRequestHandlerLogger, WSGIServerLogger

AUTHOR = b"Ada <ada@example.com>"


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

    def tag(self, name: str, *, annotated: bool) -> None:
        porcelain.tag_create(self.repo, name.encode(), author=AUTHOR, message=b"a tag", annotated=annotated)

    def branch(self, name: str) -> None:
        porcelain.branch_create(self.repo, name)


@contextmanager
def over_http(repository: Repository, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve by the smart HTTP protocol; yield the URL."""
    application = HTTPGitApplication(DictBackend(_served(repository)))
    server = make_server(host, 0, application, handler_class=WSGIRequestHandlerLogger, server_class=WSGIServerLogger)
    with _running(server):
        yield f"http://{host}:{server.server_port}/churn.git"


@contextmanager
def over_tcp(repository: Repository, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve by git's own protocol; yield the URL."""
    server = TCPGitServer(DictBackend(_served(repository)), host, 0)
    with _running(server):
        yield f"git://{host}:{server.server_address[1]}/churn.git"


def _served(repository: Repository) -> dict[bytes, BackendRepo]:
    return {b"/churn.git": repository.repo}


@contextmanager
def _running(server: object) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)  # type: ignore[attr-defined]
    thread.start()
    try:
        yield
    finally:
        server.shutdown()  # type: ignore[attr-defined]
        server.server_close()  # type: ignore[attr-defined]
        thread.join()
