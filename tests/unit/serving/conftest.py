from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.unit.serving import models
from tests.unit.serving.fetch.minio import MinioStore, Proxy, proxied, run_minio
from tests.unit.serving.harness import Pair
from tests.unit.serving.processes import Server, s3, starting


@contextmanager
def _mlflows_warnings_ignored() -> Iterator[None]:
    """As errors they would change what MLflow does: it infers another signature when inferring one fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name → directory of the model of that name, saved by MLflow when it is first asked for."""
    root = tmp_path_factory.mktemp("models")
    with _mlflows_warnings_ignored():
        builders = models.builders()

    def directory(name: str) -> Path:
        if not (root / name).exists():
            with _mlflows_warnings_ignored():
                builders[name](root / name)
        return root / name

    return directory


@pytest.fixture(scope="session")
def pair(saved_model: Callable[[str], Path]) -> Callable[[str], Pair]:
    """Name → MLflow's server and ours over the model of that name."""
    pairs: dict[str, Pair] = {}

    def get(name: str) -> Pair:
        if name not in pairs:
            pairs[name] = Pair(saved_model(name))
        return pairs[name]

    return get


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """The endpoint of an S3 with the bucket `models`."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    s3(endpoint).create_bucket(Bucket="models")
    yield endpoint
    server.stop()


@pytest.fixture
def start(tmp_path: Path, store: str) -> Iterator[Callable[..., Server]]:
    """Starts a server; keyword arguments are further environment variables."""
    with starting(tmp_path, store) as start:
        yield start


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioStore]:
    with run_minio(tmp_path_factory.mktemp("minio")) as store:
        yield store


@pytest.fixture
def proxy(minio: MinioStore) -> Iterator[Proxy]:
    with proxied(minio.endpoint) as made:
        yield made
