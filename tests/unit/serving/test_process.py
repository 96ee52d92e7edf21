"""The server as Kubernetes meets it: a process, its port, its signals, its exit code and its termination message."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import mlflow.sklearn
import pytest
import uvicorn

from modelyard_serving.server import DrainingServer
from modelyard_serving.state import Phase, State
from modelyard_serving.web.endpoint import Shared
from tests.unit.serving.echo import Gate
from tests.unit.serving.harness import config
from tests.unit.serving.processes import ROW, SECONDS, Server, eventually, s3, upload


@pytest.fixture(scope="module")
def churn(store: str, saved_model: Callable[[str], Path]) -> dict[str, str]:
    """The environment that names a stored model."""
    prefix = "churn/3"
    return {
        "MODELYARD_MODEL_SOURCE": f"s3://models/{prefix}",
        "MODELYARD_MODEL_DIGEST": upload(store, saved_model("labels_text"), prefix),
    }


@pytest.fixture
def gate(tmp_path: Path, store: str) -> dict[str, str]:
    """The environment that names a model whose predictions wait, see `Gate`."""
    mlflow.sklearn.save_model(
        Gate(str(tmp_path)), tmp_path / "gate", serialization_format="cloudpickle", pip_requirements=[]
    )
    return {
        "MODELYARD_MODEL_SOURCE": "s3://models/gate",
        "MODELYARD_MODEL_DIGEST": upload(store, tmp_path / "gate", "gate"),
    }


def test_starts_serves_drains_and_stops(start: Callable[..., Server], churn: dict[str, str]) -> None:
    # Longer than the questions to a draining server take, however busy the machine is.
    server = start(**churn, MODELYARD_DRAIN_SECONDS="60")
    server.wait_ready()
    response = server.predict()
    assert (response.status_code, response.json()) == (200, {"predictions": ["leaves"]})
    assert (response.headers["X-Modelyard-Model"], response.headers["X-Modelyard-Version"]) == ("churn", "3")
    assert "Connection" not in response.headers

    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.status() == 503, "unhealthy")
    response = server.predict()
    assert (response.status_code, response.headers["Connection"]) == (200, "close")

    # A second signal cuts the draining short.
    server.process.send_signal(signal.SIGTERM)
    code, log, err = server.end()
    assert (code, err) == (0, "")
    assert [line["event"] for line in log] == ["starting", "loaded", "ready", "draining", "stopped"]
    assert server.status() is None
    assert not server.termination_log.exists()


def test_ends_at_once_where_it_is_told_to_before_it_has_begun(
    start: Callable[..., Server], churn: dict[str, str]
) -> None:
    """The first process of a container gets no signal that it has no handler for."""
    server = start(**churn)
    status = Path(f"/proc/{server.process.pid}/status")
    term = 1 << (signal.SIGTERM - 1)

    def has_handler() -> bool:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) & term)

    eventually(has_handler, "a handler of SIGTERM")
    server.process.send_signal(signal.SIGTERM)
    code, log, err = server.end()
    assert (code, err) == (0, "")
    assert "ready" not in [line["event"] for line in log]


def test_a_connection_kept_alive_is_closed_by_the_answer_while_draining(
    start: Callable[..., Server], churn: dict[str, str]
) -> None:
    server = start(**churn, MODELYARD_DRAIN_SECONDS="60")
    server.wait_ready()
    with httpx.Client(base_url=server.url, timeout=SECONDS) as kept:
        assert kept.get("/health").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.status() == 503, "unhealthy")
        assert kept.post("/invocations", json=ROW).headers["Connection"] == "close"
        assert server.predict().status_code == 200
    # A second signal cuts the draining short.
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0


def test_requests_in_flight_are_answered(start: Callable[..., Server], gate: dict[str, str], tmp_path: Path) -> None:
    server = start(**gate, MODELYARD_DRAIN_SECONDS="0.2")
    server.wait_ready()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.predict)
        eventually((tmp_path / "started").exists, "the prediction started")
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.status() is None, "no longer listening")
        assert not answer.done()
        (tmp_path / "finish").touch()
        assert answer.result(SECONDS).json() == {"predictions": ["passed"]}
    assert server.end()[0] == 0


def test_requests_in_flight_do_not_hold_the_end_up_for_ever(
    start: Callable[..., Server], gate: dict[str, str], tmp_path: Path
) -> None:
    server = start(**gate, MODELYARD_DRAIN_SECONDS="0", MODELYARD_SHUTDOWN_SECONDS="1")
    server.wait_ready()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.predict)
        eventually((tmp_path / "started").exists, "the prediction started")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
        assert time.monotonic() - begin < 20
        response = answer.result(SECONDS)
    assert (response.status_code, response.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


def test_the_process_ends_within_the_time_that_kubernetes_gives_it(
    start: Callable[..., Server], gate: dict[str, str], tmp_path: Path
) -> None:
    server = start(**gate, MODELYARD_DRAIN_SECONDS="10")
    server.wait_ready()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.predict)
        eventually((tmp_path / "started").exists, "the prediction started")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
        assert 10 < time.monotonic() - begin < 25
        assert answer.result(SECONDS).status_code == 503


def test_an_event_loop_that_hangs_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr("modelyard_serving.server.GRACE_SECONDS", 0)
    monkeypatch.setattr("modelyard_serving.server._end", ended.set)
    state = State(config(drain_seconds=0.1, shutdown_seconds=0), phase=Phase.READY)
    DrainingServer(uvicorn.Config(lambda: None), Shared(state)).handle_exit(signal.SIGTERM, None)
    assert ended.wait(SECONDS)


def test_other_files_than_registered_are_never_loaded(
    start: Callable[..., Server], store: str, saved_model: Callable[[str], Path]
) -> None:
    registered = upload(store, saved_model("labels_text"), "spoilt")
    s3(store).put_object(Bucket="models", Key="spoilt/model.pkl", Body=b"cos\nsystem\n(S'touch /tmp/evil'\ntR.")
    server = start(MODELYARD_MODEL_SOURCE="s3://models/spoilt", MODELYARD_MODEL_DIGEST=registered)
    code, log, err = server.end()
    assert code == 1
    assert [line["event"] for line in log] == ["starting"]
    assert server.termination_log.read_text() == err
    assert err.startswith("DigestMismatch: s3://models/spoilt has digest sha256:")
    assert err.endswith(f", but {registered} was registered\n")


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({"MODELYARD_MODEL_DIGEST": "x"}, "ConfigInvalid: MODELYARD_MODEL_DIGEST must be sha256: and 64 hex digits"),
        ({"MODELYARD_MODEL_SOURCE": "s3://models/none"}, "ArtifactNotFound: nothing is stored below s3://models/none/"),
        ({"MODELYARD_MODEL_SOURCE": "s3://no-bucket/x"}, "ArtifactNotFound: s3://no-bucket/x: "),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}, "ArtifactStoreUnreachable: s3://models/churn/3: "),
        ({"MODELYARD_HOST": "192.0.2.1"}, "ConfigInvalid: MODELYARD_HOST, MODELYARD_PORT: cannot listen on 192.0.2.1"),
    ],
)
def test_says_in_one_line_why_it_cannot_start(
    env: dict[str, str], line: str, start: Callable[..., Server], churn: dict[str, str]
) -> None:
    server = start(**{**churn, **env})
    code, _, err = server.end()
    assert code == 1
    assert err.startswith(line)
    assert err.count("\n") == 1
    assert server.termination_log.read_text() == err


def test_a_termination_log_that_cannot_be_written_does_not_matter(start: Callable[..., Server]) -> None:
    code, _, err = start(MODELYARD_TERMINATION_LOG="/nonexistent/log").end()
    assert (code, err) == (1, "ConfigInvalid: MODELYARD_MODEL_SOURCE is not set\n")


def test_can_be_ended_while_a_store_keeps_it_waiting(start: Callable[..., Server], churn: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = start(**churn, AWS_ENDPOINT_URL_S3=endpoint)
        eventually(lambda: server.status() == 503, "listening, not ready")
        connection, _ = silent.accept()
        assert server.predict().json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code, log, _ = server.end()
        connection.close()
    assert code == 0
    assert [line["event"] for line in log] == ["starting", "stopped"]
    assert time.monotonic() - begin < 20


def test_a_container_that_restarts_needs_no_store(start: Callable[..., Server], churn: dict[str, str]) -> None:
    first = start(**churn)
    first.wait_ready()
    first.process.kill()
    second = start(**churn, AWS_ENDPOINT_URL_S3="http://127.0.0.1:1")
    second.wait_ready()
    assert second.predict().json() == {"predictions": ["leaves"]}
