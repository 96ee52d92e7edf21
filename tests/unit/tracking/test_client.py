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

from modelyard.api.experiment_status import Dataset
from modelyard.decide.experiment_model import LOG_ARTIFACT, Run, RunStatus
from modelyard.tracking.artifacts import ArtifactsNotServed
from modelyard.tracking.client import TrackingClient, TrackingError, TrackingUnreachable


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's: its artifacts are files below `artifacts`."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[str]:
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


def test_a_search_goes_through_all_pages_with_one_request_each(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[str] = []
    client = TrackingClient(server, lambda method, path: requests.append(f"{method} {path}"))
    monkeypatch.setattr("modelyard.tracking.client._PAGE", 2)
    experiment_id = client.ensure_experiment("pages", {})
    made = [client.create_run(experiment_id, f"run {number}", {"e": "1"}, number).run_id for number in range(5)]
    requests.clear()
    assert ids(client.search_runs(experiment_id, {"e": "1"})) == made
    assert requests == ["POST runs/search"] * 3
    client.close()


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


def test_a_run_is_read_by_its_id_with_its_times_and_its_data(server: str, client: TrackingClient) -> None:
    run = client.create_run(client.ensure_experiment("read", {}), "r", {"a": "b"}, 1_000)
    sources = {"wine": '{"uri": "s3://data/wine.csv"}', "made": '{"tags": {"mlflow.user": "a"}}'}
    inputs = [
        {
            "tags": [{"key": "mlflow.data.context", "value": "training"}],
            "dataset": {"name": name, "digest": f"d-{name}", "source_type": "x", "source": source},
        }
        for name, source in sources.items()
    ]
    call(server, "runs/log-inputs", run_id=run.run_id, datasets=inputs)
    running = client.get_run(run.run_id)
    assert running is not None
    assert (running.start_time, running.end_time, running.ended) == (1_000, 0, False)
    assert sorted(running.datasets, key=lambda each: each.name) == [
        Dataset(name="made", digest="d-made", context="training", source=sources["made"]),
        Dataset(name="wine", digest="d-wine", context="training", source="s3://data/wine.csv"),
    ]

    client.end_run(run.run_id, RunStatus.FINISHED, 2_000)
    ended = client.get_run(run.run_id)
    assert ended is not None
    assert (ended.end_time, ended.ended) == (2_000, True)
    (found,) = client.search_runs(client.ensure_experiment("read", {}), {})
    assert found == ended


def test_a_run_that_is_deleted_or_unknown_is_none_and_deleting_it_again_is_no_error(client: TrackingClient) -> None:
    experiment_id = client.ensure_experiment("gone", {})
    run = client.create_run(experiment_id, "r", {"e": "1"}, 1)
    for _ in range(2):
        client.delete_run(run.run_id)
        assert client.get_run(run.run_id) is None
        assert client.search_runs(experiment_id, {"e": "1"}) == []
    client.delete_run("0" * 32)
    assert client.get_run("0" * 32) is None


def test_tags_are_set_whatever_they_were_and_more_than_a_request_takes(client: TrackingClient) -> None:
    run = client.create_run(client.ensure_experiment("tags", {}), "r", {"a": "old", "b": "kept"}, 1)
    wanted = {"a": "new", **{f"t{number}": str(number) for number in range(120)}}
    client.set_tags(run.run_id, wanted)
    found = client.get_run(run.run_id)
    assert found is not None
    assert found.tags.items() >= {**wanted, "b": "kept"}.items()


def test_the_history_of_a_metric_is_read_page_by_page_and_may_hold_no_numbers(
    server: str, client: TrackingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.tracking.client._HISTORY_PAGE", 2)
    run = client.create_run(client.ensure_experiment("history", {}), "r", {}, 1)
    values = [0.5, 0.25, "NaN", 0.125, 0.0625]
    logged = [
        {"key": "loss", "value": value, "timestamp": step + 1, "step": step * 10} for step, value in enumerate(values)
    ]
    call(server, "runs/log-batch", run_id=run.run_id, metrics=logged)
    history = client.metric_history(run.run_id, "loss")
    assert [step for step, _ in history] == [0, 10, 20, 30, 40]
    assert [value for _, value in history[:2]] == [0.5, 0.25]
    assert math.isnan(history[2][1])
    assert client.metric_history(run.run_id, "never-logged") == []


def test_artifacts_are_written_again_and_deleted_with_those_of_logged_models(
    server: str, directory: Path, client: TrackingClient
) -> None:
    experiment_id = client.ensure_experiment("artifacts", {})
    run, other = (client.create_run(experiment_id, name, {}, 1) for name in ("r", "other"))
    body = call(server, "logged-models", experiment_id=experiment_id, name="m", source_run_id=run.run_id)["model"]
    assert isinstance(body, dict)
    model_id = body["info"]["model_id"]
    call(server, "runs/outputs", run_id=run.run_id, models=[{"model_id": model_id, "step": 0}])
    root = directory / "artifacts" / experiment_id
    (root / "models" / model_id / "artifacts").mkdir(parents=True)
    (root / "models" / model_id / "artifacts" / "MLmodel").write_text("flavors: {}")

    for content in (b"first", "zw\u00f6lf %2F".encode()):
        client.put_artifact(run, LOG_ARTIFACT, content)
        assert (root / run.run_id / "artifacts" / LOG_ARTIFACT).read_bytes() == content
    client.put_artifact(run, "a b/ü.txt", b"odd name")
    assert (root / run.run_id / "artifacts" / "a b" / "ü.txt").read_bytes() == b"odd name"
    client.put_artifact(other, LOG_ARTIFACT, b"stays")

    for _ in range(2):
        client.delete_artifacts(run, client.logged_models(run.run_id))
        assert not list((root / run.run_id).rglob("*.txt"))
        assert not list((root / "models" / model_id).rglob("MLmodel"))
    assert (root / other.run_id / "artifacts" / LOG_ARTIFACT).read_bytes() == b"stays"


def test_runs_of_registered_versions_are_told_by_the_servers_own_registry(server: str, client: TrackingClient) -> None:
    experiment_id = client.ensure_experiment("registered", {})
    runs = [client.create_run(experiment_id, str(number), {}, 1) for number in range(3)]
    for name in ("churn", "wine"):
        call(server, "registered-models/create", name=name)
    for name, run in (("churn", runs[0]), ("churn", runs[1]), ("wine", runs[1])):
        source = f"{run.artifact_uri}/model"
        call(server, "model-versions/create", name=name, source=source, run_id=run.run_id)
    found = client.registered_versions([run.run_id for run in runs])
    assert found[runs[0].run_id] == "version 1 of churn"
    assert found[runs[1].run_id] in {"version 2 of churn", "version 1 of wine"}
    assert runs[2].run_id not in found
    assert client.registered_versions([]) == {}


@pytest.mark.parametrize(
    "uri",
    ["s3://bucket/1/abc/artifacts", "mlflow-artifacts:/1/another/artifacts", "mlflow-artifacts:/", "", "/tmp/abc"],
)
def test_artifacts_that_the_server_does_not_serve_are_left_alone_in_words(uri: str) -> None:
    requests: list[str] = []
    client = TrackingClient("http://127.0.0.1:1", lambda method, path: requests.append(f"{method} {path}"))
    for act in (lambda run: client.put_artifact(run, "x", b""), client.delete_artifacts):
        with pytest.raises(ArtifactsNotServed, match=r"the artifacts of run r are at .* does not serve") as caught:
            act(Run("abc", "r", artifact_uri=uri))
        assert not isinstance(caught.value, TrackingUnreachable)
    assert requests == []
    client.close()


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
    transport = httpx.MockTransport(lambda _: httpx.Response(code, text=body))
    client = TrackingClient("http://tracking", transport=transport)
    with pytest.raises(TrackingError) as caught:
        client.create_run("1", "x", {}, 1)
    assert isinstance(caught.value, TrackingUnreachable) is unreachable
    assert words in str(caught.value)
    client.close()
