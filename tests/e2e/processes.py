"""Servers that tests run as local processes, from the binaries that the local cluster is built of."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import versions

START_SECONDS = 120.0

# Below those that Linux gives to clients' ends of connections, which may come between the look and the server's start.
_PORTS = range(20000, 30000)


def wait_until(what: str, check: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `check` holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


@dataclass(frozen=True)
class Process:
    """One server of the tests."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, url: str) -> None:
        """Wait until the URL answers with anything but an error of the server's."""

        def answers() -> bool:
            if self.process.poll() is not None:
                pytest.fail(f"{self.log.stem} ended: {self.log.read_text()[-4000:]}")
            try:
                urllib.request.urlopen(url, timeout=5).close()
            except urllib.error.HTTPError as error:
                return error.code < 500
            except OSError:
                return False
            return True

        wait_until(url, answers, START_SECONDS)


@contextmanager
def running(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """Run a server, its output in `directory`, and end it and what it started."""
    log = directory / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Process(process, log)
    finally:
        # One that a test has killed is there no more.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)


def free_port() -> int:
    """Return a port of the loopback device that nobody listens on."""
    # Not the generator that Hypothesis seeds: several processes of tests look at the same time.
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("every port is taken")


def program(component: str, name: str = "") -> str:
    """Return the path of a program of the local cluster."""
    path = versions.load().program(component, name)
    if not path.exists():
        pytest.fail(f"{path} is not built: make cluster-build")
    return str(path)
