"""Runs programs within a time, line by line, and finds the words that tell why one failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_CROSS = "\N{MULTIPLICATION SIGN}"
_DRAWN = {ord(each): " " for each in _CROSS + "╰─▶│├"}
_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_FROM_PIP = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_CERT": "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE": "SSL_CERT_FILE",
}
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX")


class Failed(Exception):
    """Something cannot be had; the only argument says why, in the words of who said so."""


def uv_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return uv's own variables as they are, and pip's standard ones, which uv does not read, as uv's."""
    taken = dict(env)
    for pip, uv in _FROM_PIP.items():
        if env.get(pip):
            taken.setdefault(uv, env[pip])
    if env.get("UV_INDEX_URL") or env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX"):
        # Who speaks uv's language is taken at their word.
        taken = {name: value for name, value in taken.items() if name in env or name not in _INDEXES}
    taken.setdefault("UV_PYTHON_DOWNLOADS", "never")
    return taken


def run(
    command: Sequence[str],
    end: float,
    directory: Path,
    env: Mapping[str, str],
    what: str,
    *,
    check: bool = True,
) -> Iterator[str]:
    """Yield what the command says, line by line. Raises `Failed` if it fails, or `end` (of time.monotonic) passes."""
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell
            command,
            cwd=directory,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"{what} failed: {command[0]} does not start: {error.strerror}") from error
    late = threading.Event()

    def stop() -> None:
        late.set()
        _end(process)

    timer = threading.Timer(max(end - time.monotonic(), 0.0), stop)
    timer.start()
    said: list[str] = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said = [*said[-200:], line.rstrip("\n")]
            yield said[-1]
        code = process.wait()
    finally:
        timer.cancel()
        _end(process)
        process.wait()
        process.stdout.close()
    if late.is_set():
        raise Failed(f"{what} took longer than it may")
    if code and check:
        raise Failed(f"{what} failed: {last_words(said) or f'exit code {code}'}")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def last_words(said: Sequence[str]) -> str:
    """Return what tells most: what uv says after the sign of a failure, else the last line. No credentials.

    Of a chain of causes the last one tells most: those between are left out.
    """
    crosses = [number for number, line in enumerate(said) if line.lstrip().startswith((_CROSS, "error:"))]
    lines = list(said[crosses[-1] :] if crosses else [line for line in said if line.strip()][-1:])
    causes = [number for number, line in enumerate(lines) if line.lstrip().startswith("cause:")]
    if len(causes) > 2:
        lines = [*lines[: causes[0]], *lines[causes[-1] :]]
    words = " ".join(" ".join(lines).translate(_DRAWN).split())
    return without_credentials(words)[:800]


def without_credentials(text: str) -> str:
    """Return the text with users and passwords taken out of its URLs."""
    return _CREDENTIALS.sub("//", text)
