from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.unit.serving.processes import Server, starting, upload

# So long that those who are not slow are in time while the machine, or what was sent before, keeps the server busy.
HEADER_SECONDS = 3
REQUEST_SECONDS = 10
CONNECTIONS = 64


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, store: str, saved_model: Callable[[str], Path]
) -> Iterator[Server]:
    """One server, which has to outlive all of these tests."""
    digest = upload(store, saved_model("labels_text"), "hostile/3")
    with starting(tmp_path_factory.mktemp("hostile"), store) as start:
        server = start(
            MODELYARD_MODEL_SOURCE="s3://models/hostile/3",
            MODELYARD_MODEL_DIGEST=digest,
            MODELYARD_HEADER_SECONDS=str(HEADER_SECONDS),
            MODELYARD_MAX_CONNECTIONS=str(CONNECTIONS),
            MODELYARD_REQUEST_SECONDS=str(REQUEST_SECONDS),
        )
        server.wait_ready()
        yield server
        assert server.process.poll() is None


@pytest.fixture
def port(server: Server) -> Iterator[int]:
    """The server's; it answers as before after each test."""
    yield urlsplit(server.url).port or 0
    assert server.predict().json() == {"predictions": ["leaves"]}
