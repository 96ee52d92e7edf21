"""A node cache as a process of its own, between pods and a store."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from modelyard_serving.fetch.store import StoredObject
from modelyard_serving.nodecache.request import Endpoints
from modelyard_serving.nodecache.server import Server
from modelyard_serving.nodecache.settings import Settings
from tests.e2e.processes import free_port, wait_until

SIZE = 200 * 1024 * 1024


@dataclass
class Cache:
    """Where it listens, what it keeps."""

    url: str
    directory: Path

    def ask(self, url: str, item: StoredObject, **headers: str) -> httpx.Response:
        """Ask for an object as a pod does."""
        body = {"url": url, "etag": item.etag, "size": item.size}
        return httpx.post(f"{self.url}/objects", json=body, headers=headers, timeout=60)

    def metric(self, name: str) -> int:
        """A counter's value, by its name (without prefix) and labels."""
        text = httpx.get(f"{self.url}/metrics", timeout=60).text
        found = re.search(rf"^modelyard_node_cache_{re.escape(name)} (\d+)$", text, re.MULTILINE)
        assert found, text
        return int(found[1])

    @property
    def objects(self) -> list[Path]:
        return sorted((self.directory / "objects").iterdir())

    @property
    def incoming(self) -> list[Path]:
        return sorted((self.directory / "incoming").iterdir())


@contextmanager
def in_thread(directory: Path, endpoint: str, limit: int = SIZE) -> Iterator[Cache]:
    """A cache in this process, which tests can reach into."""
    server = Server(Settings(Endpoints([endpoint]), directory, limit, "127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Cache(f"http://127.0.0.1:{server.server_address[1]}", directory)
    finally:
        server.shutdown()
        server.server_close()
        server.cache.http.close()
        thread.join()


@contextmanager
def as_process(directory: Path, endpoint: str, size: str = "200Mi", **env: str) -> Iterator[tuple[Cache, Any]]:
    """A cache as the DaemonSet runs it; also its process."""
    port = free_port()
    variables = {
        "PATH": os.environ["PATH"],
        "MODELYARD_NODE_CACHE_ENDPOINTS": endpoint,
        "MODELYARD_NODE_CACHE_DIR": str(directory),
        "MODELYARD_NODE_CACHE_SIZE": size,
        "MODELYARD_HOST": "127.0.0.1",
        "MODELYARD_PORT": str(port),
        **env,
    }
    command = [sys.executable, "-m", "modelyard_serving.nodecache"]
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        cache = Cache(f"http://127.0.0.1:{port}", directory)
        try:
            wait_until("the cache answers", lambda: process.poll() is not None or _answers(cache), 60)
            yield cache, process
        finally:
            process.kill()


def _answers(cache: Cache) -> bool:
    try:
        return httpx.get(f"{cache.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def log(text: str) -> list[dict[str, Any]]:
    """The lines of a process's log."""
    return [json.loads(line) for line in text.splitlines()]
