"""A server on the tests' machine that trials report to and wait at: an account of what ran that is nobody else's.

A trial posts its run to `/begun` when its program begins, and asks `/go?run=…` until the test lets it go on. What the
operator, Kubernetes and MLflow say ran can then be compared with what did.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from examples.demo.kubectl import run
from tests.e2e.processes import wait_until


class Bell:
    """Knows which programs began, how often, and which may end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._begun: Counter[str] = Counter()
        self._released: set[str] = set()
        self._open = False

    @property
    def begun(self) -> dict[str, int]:
        """How often the program of each run began."""
        with self._lock:
            return dict(self._begun)

    def wait_begun(self, count: int, seconds: float = 300.0) -> list[str]:
        """Wait until programs of that many runs have begun, and return the runs in that order."""
        wait_until(f"{count} trials have begun", lambda: len(self.begun) >= count, seconds)
        return list(self.begun)

    def release(self, *runs: str) -> None:
        """Let these runs' programs go on; without arguments all, also those that come later."""
        with self._lock:
            self._released.update(runs)
            self._open = self._open or not runs

    def begin(self, run_id: str) -> None:
        """Note that a program began."""
        with self._lock:
            self._begun[run_id] += 1

    def may_go(self, run_id: str) -> bool:
        """Whether the run's program may go on."""
        with self._lock:
            return self._open or run_id in self._released


def address() -> str:
    """The address at which pods reach this machine: with the local cluster, the node's own."""
    if "MODELYARD_TEST_HOST" in os.environ:
        return os.environ["MODELYARD_TEST_HOST"]
    node = json.loads(run("kubectl", "get", "nodes", "-o", "json"))["items"][0]
    return next(str(each["address"]) for each in node["status"]["addresses"] if each["type"] == "InternalIP")


@contextmanager
def ringing() -> Iterator[Bell]:
    """Run the server until the block ends; what waits then is let go."""
    server = ThreadingHTTPServer(("0.0.0.0", 0), _Handler)
    bell = Bell(f"http://{address()}:{server.server_port}")
    server.daemon_threads = True
    server.bell = bell  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield bell
    finally:
        bell.release()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._bell.begin(body["run"])
        self._answer(204)

    def do_GET(self) -> None:
        run_id = parse_qs(urlsplit(self.path).query)["run"][0]
        self._answer(204 if self._bell.may_go(run_id) else 409)

    @property
    def _bell(self) -> Bell:
        bell: Bell = self.server.bell  # type: ignore[attr-defined]
        return bell

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the tests' output is for failures."""
