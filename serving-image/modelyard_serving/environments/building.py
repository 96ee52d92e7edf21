"""Builds a model's own environment by uv, once for each content."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelyard_serving import logs
from modelyard_serving.environments import files, interpreter, wanted
from modelyard_serving.environments.requirements import Difference
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.mlmodel import MLmodel

DESCRIPTION = "environment.json"
BUILD_SECONDS = 900.0
POLL_SECONDS = 0.2
_STAGE = re.compile(r"^(?P<stage>Resolved|Prepared|Installed) (?P<packages>\d+) packages? in ")
_CROSS = "\N{MULTIPLICATION SIGN}"
_DRAWN = {ord(each): " " for each in _CROSS + "╰─▶│├"}
_CREDENTIALS = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True)
class Environment:
    """An environment that is complete."""

    path: Path

    @property
    def python(self) -> Path:
        """Its interpreter, which finds this package, too."""
        return interpreter.python(self.path)


def build(directory: Path, model: MLmodel, root: Path, seconds: float = BUILD_SECONDS) -> Environment:
    """The environment of the model in `directory`, built below `root` unless it is there.

    Any number of processes may ask for it at a time: one builds, the others wait.
    Raises StartupError: EnvironmentFailed, ModelInvalid.
    """
    end = time.monotonic() + seconds
    text = wanted.requirements_text(files.read(directory), model)
    name = wanted.key(text, directory)
    path = root / name
    with _failing(), _locked(root, name, end):
        if not (path / DESCRIPTION).is_file():
            _build(directory, text, path, end)
        interpreter.furnish(path)
    return Environment(path)


def _build(directory: Path, text: str, path: Path, end: float) -> None:
    start = time.monotonic()
    prefix = f".building-{path.name}-"
    for left in (*path.parent.glob(f"{prefix}*"), path):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as made:
        environment = Path(made) / "environment"
        interpreter.furnish(environment)
        requirements = environment / "requirements.txt"
        requirements.write_text(text)
        logs.event("environment_building", key=path.name, requirements=len(text.splitlines()))
        _install(environment, requirements, directory, end)
        _try(environment, end)
        _compile(environment, end)
        (environment / DESCRIPTION).write_text(json.dumps(description(path.name)) + "\n")
        environment.replace(path)
    logs.event("environment_built", key=path.name, seconds=round(time.monotonic() - start, 1))


def description(key: str) -> dict[str, str]:
    """What an environment says of itself: only the same Python, on the same kind of machine, can use it."""
    return {"key": key, "python": interpreter.LIB, "platform": f"{sys.platform}-{os.uname().machine}"}


def _install(environment: Path, requirements: Path, directory: Path, end: float) -> None:
    import uv  # noqa: PLC0415 - most processes build nothing

    command = [uv.find_uv_bin(), "pip", "install", "--python", str(interpreter.python(environment))]
    command += ["--no-progress", "--color", "never", "--requirements", str(requirements)]
    start, said = time.monotonic(), []
    for line in _run(command, end, directory, uv_environment(os.environ), "installing its packages"):
        said.append(line)
        if match := _STAGE.match(line):
            took = round(time.monotonic() - start, 1)
            packages = int(match["packages"])
            logs.event("environment_progress", stage=match["stage"].lower(), packages=packages, seconds=took)


def uv_environment(env: Mapping[str, str]) -> dict[str, str]:
    """uv's own variables as they are, and pip's standard ones, which uv does not read, as uv's."""
    taken = dict(env)
    for pip, uv in _FROM_PIP.items():
        if env.get(pip):
            taken.setdefault(uv, env[pip])
    if env.get("UV_INDEX_URL") or env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX"):
        # Who speaks uv's language is taken at their word.
        taken = {name: value for name, value in taken.items() if name in env or name not in _INDEXES}
    taken.setdefault("UV_PYTHON_DOWNLOADS", "never")
    return taken


_FROM_PIP = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_CERT": "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE": "SSL_CERT_FILE",
}
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX")


def _try(environment: Path, end: float) -> None:
    """The server's own modules have to work with these libraries: better found now than by a crash."""
    program = "import modelyard_serving.server, modelyard_serving.startup"
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(interpreter.python(environment)), "-W", "ignore", "-c", program]
    for _ in _run(command, end, environment, env, "starting the server in it"):
        pass


def _compile(environment: Path, end: float) -> None:
    """Bytecode that does not depend on the files' times, which an archive does not keep; libraries' tests need none."""
    command = [str(interpreter.python(environment)), "-m", "compileall", "-qq", "-j", str(len(os.sched_getaffinity(0)))]
    command += ["-x", "/tests/", "--invalidation-mode", "unchecked-hash", str(environment / interpreter.SITE_PACKAGES)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in _run(command, end, environment, env, "compiling it", check=False):
        pass


def _run(
    command: Sequence[str], end: float, directory: Path, env: Mapping[str, str], what: str, *, check: bool = True
) -> Iterator[str]:
    """What the command says, line by line. Raises _Failed if it fails or `end` passes."""
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
        raise _Failed(f"{what} took longer than it may")
    if code and check:
        raise _Failed(f"{what} failed: {last_words(said) or f'exit code {code}'}")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def last_words(said: Sequence[str]) -> str:
    """The one line that tells most: what uv says after the sign of a failure, else the last line. No credentials."""
    crosses = [number for number, line in enumerate(said) if line.lstrip().startswith((_CROSS, "error:"))]
    lines = said[crosses[-1] :] if crosses else [line for line in said if line.strip()][-1:]
    words = " ".join(" ".join(lines).translate(_DRAWN).split())
    return _CREDENTIALS.sub("//", words)[:800]


class _Failed(Exception):
    """Says why in its only argument."""


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except _Failed as error:
        raise StartupError(Reason.ENVIRONMENT_FAILED, str(error)) from error
    except OSError as error:
        raise StartupError(Reason.ENVIRONMENT_FAILED, f"{type(error).__name__}: {error}") from error


@contextmanager
def _locked(root: Path, name: str, end: float) -> Iterator[None]:
    """One process at a time. The lock ends with its process, however that ends; what it left is cleared away."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise _Failed("another process is building it, for longer than it may take") from None
                time.sleep(POLL_SECONDS)
        yield


def failure(error: StartupError, differences: Sequence[Difference]) -> StartupError:
    """The failure with what makes an environment necessary."""
    listed = "; ".join(each.text for each in differences if each.needed)
    message = f"the model's own environment cannot be made: {error.message}. It is needed for: {listed}"
    return StartupError(Reason.ENVIRONMENT_FAILED, message)
