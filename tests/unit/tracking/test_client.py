"""The client against a real MLflow server, and against servers that fail."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from modelyard.decide.experiment_model import Run, RunStatus
from modelyard.tracking.client import TrackingClient, TrackingError, TrackingUnreachable


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    stores = [f"--backend-store-uri=sqlite:///{directory}/mlflow.db", f"--artifacts-destination={directory}/artifacts"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *stores], stdout=output, stderr=output, env=environment)
    try:
        _wait(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _wait(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{uri}/health", timeout=5).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail(f"MLflow did not start: {log.read_text()}")


@pytest.fixture
def client(server: str) -> Iterator[TrackingClient]:
    made = TrackingClient(server)
    yield made
    made.close()


def call(server: str, path: str, **body: object) -> dict[str, object]:
    response = httpx.post(f"{server}/api/2.0/mlflow/{path}", json=body, timeout=20)
    response.raise_for_status()
    answer: dict[str, object] = response.json()
    return answer


def test_an_experiment_is_made_once_and_its_tags_follow(server: str) -> None:
    requests: list[str] = []
    client = TrackingClient(server, lambda method, path: requests.append(f"{method} {path}"))
    first = client.ensure_experiment("one", {"team": "a"})
    assert client.ensure_experiment("one", {"team": "b", "owner": "c"}) == first
    requests.clear()
    assert client.ensure_experiment("one", {"team": "b", "owner": "c"}) == first
    assert requests == ["GET experiments/get-by-name"]
    client.close()


def test_an_experiment_that_somebody_else_makes_meanwhile_is_taken(
    server: str, client: TrackingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TrackingClient(server)
    made = other.ensure_experiment("raced", {})
    other.close()
    lookup, first = client._experiment, iter([True])
    monkeypatch.setattr(client, "_experiment", lambda name: None if next(first, False) else lookup(name))
    assert client.ensure_experiment("raced", {}) == made


def test_a_deleted_experiment_is_refused_in_words(server: str, client: TrackingClient) -> None:
    experiment_id = client.ensure_experiment("deleted", {})
    call(server, "experiments/delete", experiment_id=experiment_id)
    with pytest.raises(TrackingError, match="the MLflow experiment 'deleted' was deleted"):
        client.ensure_experiment("deleted", {})


def test_a_run_is_made_found_by_its_tags_and_ended(server: str, client: TrackingClient) -> None:
    experiment_id = client.ensure_experiment("runs", {})
    made = client.create_run(experiment_id, "rf-tuned", {"a.b/c": "ns/n", "e": "1"}, 1_700_000_000_000)
    assert (made.name, made.status, made.start_time) == ("rf-tuned", RunStatus.RUNNING, 1_700_000_000_000)
    assert made.artifact_uri == f"mlflow-artifacts:/{experiment_id}/{made.run_id}/artifacts"
    client.log_parameters(made.run_id, {"n": "1", "text": "a b"})
    client.log_parameters(made.run_id, {"n": "1"})
    metrics = [{"key": key, "value": value, "timestamp": 1, "step": 0} for key, value in (("f1", 0.5), ("nan", "NaN"))]
    call(server, "runs/log-batch", run_id=made.run_id, metrics=metrics)

    (found,) = client.search_runs(experiment_id, {"a.b/c": "ns/n", "e": "1"})
    assert found.parameters == {"n": "1", "text": "a b"}
    assert found.metrics["f1"] == 0.5
    assert math.isnan(found.metrics["nan"])
    assert client.search_runs(experiment_id, {"a.b/c": "ns/n"}, without={"e": "1"}) == []
    assert ids(client.search_runs(experiment_id, {"a.b/c": "ns/n"}, without={"e": "2"}, running=True)) == [made.run_id]

    client.end_run(made.run_id, RunStatus.KILLED, 1_700_000_001_000)
    assert client.search_runs(experiment_id, {"e": "1"}, running=True) == []
    assert client.search_runs(experiment_id, {"e": "1"})[0].status is RunStatus.KILLED


def ids(runs: list[Run]) -> list[str]:
    return [run.run_id for run in runs]


def test_a_search_goes_through_all_pages(client: TrackingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.tracking.client._PAGE", 2)
    experiment_id = client.ensure_experiment("pages", {})
    made = [client.create_run(experiment_id, f"run {number}", {"e": "1"}, number).run_id for number in range(5)]
    assert sorted(ids(client.search_runs(experiment_id, {"e": "1"}))) == sorted(made)


def test_more_parameters_than_a_request_takes_are_logged(client: TrackingClient) -> None:
    experiment_id = client.ensure_experiment("many", {})
    run = client.create_run(experiment_id, "many", {"e": "1"}, 1)
    client.log_parameters(run.run_id, {f"p{number}": str(number) for number in range(150)})
    (found,) = client.search_runs(experiment_id, {"e": "1"})
    assert len(found.parameters) == 150


def test_the_metrics_of_a_run_are_the_newest_and_may_be_no_numbers(server: str, client: TrackingClient) -> None:
    run = client.create_run(client.ensure_experiment("metrics", {}), "run", {}, 1)
    assert client.metrics(run.run_id) == {}
    for key, value, step in (("f1", 0.7, 1), ("f1", 0.81, 2), ("loss", "NaN", 1)):
        call(server, "runs/log-metric", run_id=run.run_id, key=key, value=value, timestamp=step, step=step)
    found = client.metrics(run.run_id)
    assert found["f1"] == 0.81
    assert math.isnan(found["loss"])
    with pytest.raises(TrackingError) as raised:
        client.metrics("0" * 32)
    assert raised.value.code == "RESOURCE_DOES_NOT_EXIST"


def test_the_models_of_a_run_are_found_with_their_place(server: str, client: TrackingClient) -> None:
    experiment_id = client.ensure_experiment("models", {})
    run = client.create_run(experiment_id, "r", {}, 1)
    assert client.logged_models(run.run_id) == []
    made = []
    for name in ("first", "second"):
        body = call(server, "logged-models", experiment_id=experiment_id, name=name, source_run_id=run.run_id)["model"]
        assert isinstance(body, dict)
        made.append(body["info"]["model_id"])
        call(server, "runs/outputs", run_id=run.run_id, models=[{"model_id": made[-1], "step": 0}])
    second, first = client.logged_models(run.run_id)
    assert [(model.model_id, model.name) for model in (first, second)] == list(
        zip(made, ["first", "second"], strict=True)
    )
    assert first.artifact_location == f"mlflow-artifacts:/{experiment_id}/models/{made[0]}/artifacts"


def test_a_refusal_has_mlflows_code(client: TrackingClient) -> None:
    with pytest.raises(TrackingError, match="Run with id=nope not found") as caught:
        client.end_run("nope", RunStatus.FAILED, 1)
    assert caught.value.code == "RESOURCE_DOES_NOT_EXIST"
    assert not isinstance(caught.value, TrackingUnreachable)


def test_a_server_that_does_not_answer_is_unreachable() -> None:
    client = TrackingClient("http://127.0.0.1:1")
    with pytest.raises(TrackingUnreachable, match=r"127\.0\.0\.1:1.* does not answer"):
        client.ensure_experiment("x", {})
    client.close()


@pytest.mark.parametrize(
    ("code", "body", "unreachable", "words"),
    [
        (503, "<html>starting</html>", True, "answers 503: <html>starting</html>"),
        (500, '{"error_code": "INTERNAL_ERROR", "message": "boom"}', True, "answers 500: boom"),
        (429, "", True, "answers 429: Too Many Requests"),
        (403, "Invalid Host header", False, "answers 403: Invalid Host header"),
        (400, '["no", "object"]', False, "answers 400"),
    ],
)
def test_what_a_server_cannot_do_now_is_told_from_what_it_refuses(
    code: int, body: str, unreachable: bool, words: str
) -> None:
    client = TrackingClient("http://tracking")
    client._http = httpx.Client(
        base_url="http://tracking", transport=httpx.MockTransport(lambda _: httpx.Response(code, text=body))
    )
    with pytest.raises(TrackingError) as caught:
        client.create_run("1", "x", {}, 1)
    assert isinstance(caught.value, TrackingUnreachable) is unreachable
    assert words in str(caught.value)
    client.close()
