"""The servers that are compared, each one process as its own documentation starts it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench.serving import environments
from tests.bench.serving.models import INVOCATIONS, V2
from tests.bench.serving.processes import cpu_seconds, seconds_until
from tests.bench.serving.store import Stored
from tests.cluster.paths import REPOSITORY
from tests.e2e.processes import Process, free_port, running

ACCELERATED = "modelyard"
NATIVE = "modelyard-native"
MLFLOW = "mlflow"
MLSERVER = "mlserver"
MLSERVER_V2 = "mlserver-v2"
BARE = "uvicorn"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Served:
    """A model, where the servers find it."""

    directory: Path
    stored: Stored
    onnx: Stored | None
    """What the acceleration made of it, if its check passed."""
    store: dict[str, str]
    """The environment variables for boto3."""


@dataclass(frozen=True)
class Command:
    """How a server is started."""

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    protocol: str = INVOCATIONS


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    process: Process
    url: str
    start_seconds: float
    """From the process's start to the first 200 of its health check."""
    start_cpu_seconds: float
    """What CPU time all its processes used for that."""
    protocol: str = INVOCATIONS

    @property
    def path(self) -> str:
        """Where it is asked."""
        return "/invocations" if self.protocol == INVOCATIONS else "/v2/models/bench/infer"

    @property
    def session(self) -> int:
        """The id that all its processes share."""
        return self.process.process.pid

    @property
    def fetch_seconds(self) -> float | None:
        """How much of the start went into the download, where the server says so."""
        for line in self.process.log.read_text().splitlines():
            if line.startswith("{") and (event := json.loads(line)).get("event") == "loaded":
                seconds: float = event["fetch_seconds"]
                return seconds
        return None


@contextmanager
def run(name: str, served: Served, directory: Path) -> Iterator[Server]:
    """Run one of the servers, what it writes in `directory`."""
    directory.mkdir(parents=True)
    port = free_port()
    command = COMMANDS[name](served, directory, port)
    url = f"http://{HOST}:{port}"
    begin = time.monotonic()
    with running(command.arguments, directory, command.environment) as process:
        seconds = seconds_until(process, f"{url}/health", begin)
        yield Server(name, process, url, seconds, cpu_seconds(process.process.pid), command.protocol)


def _modelyard(served: Served, directory: Path, port: int) -> Command:
    """As in a pod: everything is downloaded and verified first."""
    environment = {
        **served.store,
        "MODELYARD_MODEL_NAME": "bench",
        "MODELYARD_MODEL_VERSION": "1",
        "MODELYARD_MODEL_SOURCE": served.stored.uri,
        "MODELYARD_MODEL_DIGEST": served.stored.digest,
        "MODELYARD_MODEL_DIR": str(directory / "model"),
        "MODELYARD_HOST": HOST,
        "MODELYARD_PORT": str(port),
        "MODELYARD_TERMINATION_LOG": str(directory / "termination-log"),
        # As the operator sets it, for candidates that are to be compared.
        "MODELYARD_RECENT_REQUESTS": "200",
        "MODELYARD_RUNTIME": "auto",
    }
    if served.onnx is not None:
        environment |= {
            "MODELYARD_ACCELERATED_SOURCE": served.onnx.uri,
            "MODELYARD_ACCELERATED_DIGEST": served.onnx.digest,
        }
    return Command([str(environments.modelyard() / "python"), "-m", "modelyard_serving"], environment)


def _modelyard_native(served: Served, directory: Path, port: int) -> Command:
    command = _modelyard(served, directory, port)
    return Command(command.arguments, {**command.environment, "MODELYARD_RUNTIME": "native"})


def _mlflow(served: Served, directory: Path, port: int) -> Command:
    programs = environments.peer("mlflow")
    options = ["--host", HOST, "--port", str(port), "--env-manager", "local"]
    # It starts the `uvicorn` that it finds.
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    return Command(
        [str(programs / "mlflow"), "models", "serve", "--model-uri", str(served.directory), *options], environment
    )


def _mlserver(served: Served, directory: Path, port: int) -> Command:
    """Its MLflow runtime, which enforces the signature, in one process: no workers of its own."""
    settings = {
        "host": HOST,
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        # Which would log every request.
        "debug": False,
    }
    model = {
        "name": "bench",
        "implementation": "mlserver_mlflow.MLflowRuntime",
        "parameters": {"uri": str(served.directory)},
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    (directory / "model-settings.json").write_text(json.dumps(model))
    # /health of the MLflow runtime is there only once the model is loaded.
    return Command([str(environments.peer("mlserver") / "mlserver"), "start", str(directory)])


def _mlserver_v2(served: Served, directory: Path, port: int) -> Command:
    """The same server, asked over its own protocol."""
    return replace(_mlserver(served, directory, port), protocol=V2)


def _bare(served: Served, directory: Path, port: int) -> Command:
    """The uvicorn of our own environment, with what makes it fast."""
    options = ["--host", HOST, "--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    program = str(environments.modelyard() / "uvicorn")
    return Command(
        [program, "--app-dir", str(REPOSITORY), "--lifespan", "off", *options, "tests.bench.serving.bare:app"]
    )


COMMANDS: dict[str, Callable[[Served, Path, int], Command]] = {
    ACCELERATED: _modelyard,
    NATIVE: _modelyard_native,
    MLFLOW: _mlflow,
    MLSERVER: _mlserver,
    MLSERVER_V2: _mlserver_v2,
    BARE: _bare,
}
STANDARD = (ACCELERATED, NATIVE, MLFLOW, MLSERVER, BARE)
"""Those that are given the same bytes."""
