"""Servers as processes of their own, over models in an S3."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx

from modelyard_serving.digest import digest, hash_directory

SECONDS = 120
"""For what should happen soon, on a machine that may be busy."""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
ROW = {"dataframe_records": [{"tenure": 3, "charge": 99.5, "plan": "plus"}]}


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`, asked until the deadline."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {SECONDS} s: {what}")


_kept: list[socket.socket] = []


def free_port() -> int:
    """A port for a server that reuses addresses, as all of them do here; nobody else is given it meanwhile."""
    # Bound, but not listening: the kernel passes the port over when another asks for any, and nothing answers at it.
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    _kept.append(kept)
    port: int = kept.getsockname()[1]
    return port


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    termination_log: Path

    def status(self, path: str = "/health") -> int | None:
        """The status of a GET over a new connection, or None if nobody listens."""
        try:
            return httpx.get(self.url + path).status_code
        except httpx.TransportError:
            return None

    def wait_ready(self) -> None:
        eventually(lambda: self.process.poll() is not None or self.status() == 200, "ready")
        assert self.process.poll() is None, self.process.communicate()

    def predict(self, body: Any = None) -> httpx.Response:
        return httpx.post(self.url + "/invocations", json=body or ROW, timeout=SECONDS)

    def end(self) -> tuple[int, list[dict[str, Any]], str]:
        """(exit code, log, standard error) of a process that ends by itself."""
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


def s3(endpoint: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )


def upload(endpoint: str, directory: Path, prefix: str) -> str:
    """The digest of the files that now are below `prefix`."""
    # A second such server in this process shares its buckets with the first, and takes them along when it ends.
    s3(endpoint).create_bucket(Bucket="models")
    for path in hash_directory(directory):
        s3(endpoint).upload_file(str(directory / path), "models", f"{prefix}/{path}")
    return digest(hash_directory(directory))


@contextmanager
def starting(directory: Path, store: str) -> Iterator[Callable[..., Server]]:
    """Gives what starts a server; its keyword arguments are further environment variables."""
    servers: list[Server] = []

    def start(**env: str) -> Server:
        port = env.pop("MODELYARD_PORT", str(free_port()))
        variables = {
            "PATH": os.environ["PATH"],
            **CREDENTIALS,
            "AWS_ENDPOINT_URL_S3": store,
            "MODELYARD_MODEL_NAME": "churn",
            "MODELYARD_MODEL_VERSION": "3",
            "MODELYARD_MODEL_DIR": str(directory / "model"),
            "MODELYARD_HOST": "127.0.0.1",
            "MODELYARD_PORT": port,
            "MODELYARD_TERMINATION_LOG": str(directory / "termination-log"),
            "MODELYARD_DRAIN_SECONDS": "1.5",
            **env,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard_serving"],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        servers.append(Server(process, f"http://127.0.0.1:{port}", directory / "termination-log"))
        return servers[-1]

    try:
        yield start
    finally:
        for server in servers:
            server.process.kill()
            server.process.communicate()
