from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard_serving.app import create_app
from modelyard_serving.errors import Reason, RequestError, StartupError
from modelyard_serving.state import Phase, State
from tests.unit.serving import harness

ROW = {"dataframe_records": [{"tenure": 3, "charge": 99.5, "plan": "plus"}]}


@pytest.fixture
def loading() -> State:
    return State(harness.config(max_body_bytes=2000))


@pytest.fixture
def ready(loading: State, saved_model: Callable[[str], Path]) -> State:
    loading.ready(harness.model(saved_model("labels_text")))
    return loading


def client(state: State) -> httpx.AsyncClient:
    return harness.client(create_app(state))


async def get(state: State, path: str) -> httpx.Response:
    async with client(state) as http:
        return await http.get(path)


async def post(state: State, **request: Any) -> httpx.Response:
    async with client(state) as http:
        return await http.post("/invocations", **request)


@pytest.mark.parametrize("path", ["/ping", "/health"])
@pytest.mark.parametrize(
    ("phase", "status"), [(Phase.LOADING, 503), (Phase.READY, 200), (Phase.DRAINING, 503), (Phase.FAILED, 503)]
)
async def test_health_is_only_good_when_ready(path: str, phase: Phase, status: int, loading: State) -> None:
    loading.phase = phase
    response = await get(loading, path)
    assert (response.status_code, response.text) == (status, "\n")


def test_a_model_that_arrives_while_draining_does_not_end_the_draining(loading: State, ready: State) -> None:
    model = ready.model
    late = State(loading.config, phase=Phase.DRAINING)
    late.ready(model)
    assert late.phase is Phase.DRAINING


def test_a_failure_is_kept(loading: State) -> None:
    error = StartupError(Reason.LOAD_FAILED, "x")
    loading.failed(error)
    assert (loading.phase, loading.failure) == (Phase.FAILED, error)


@pytest.mark.parametrize("path", ["/version", "/metadata"])
async def test_nothing_is_known_of_a_model_that_is_not_loaded(path: str, loading: State) -> None:
    response = await get(loading, path)
    assert response.status_code == 503
    assert response.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"


async def test_no_predictions_before_the_model_is_loaded(loading: State) -> None:
    response = await post(loading, json=ROW)
    assert response.status_code == 503
    assert response.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"


async def test_version_is_that_of_the_mlflow_that_saved_the_model(ready: State) -> None:
    assert (await get(ready, "/version")).text == "3.17.2"


async def test_metadata_says_what_is_served(ready: State) -> None:
    metadata = (await get(ready, "/metadata")).json()
    assert metadata.pop("model_uuid")
    assert [column["name"] for column in metadata.pop("signature")["inputs"]] == ["tenure", "charge", "plan"]
    assert metadata == {
        "model": "churn",
        "version": "3",
        "uri": "models:/churn/3",
        "source": "s3://models/churn/3",
        "digest": "sha256:" + "0" * 64,
        "flavor": "sklearn",
        "runtime": "native",
        "runtime_note": None,
        "methods": ["predict", "predict_proba", "predict_log_proba", "decision_function"],
        "mlflow_version": "3.17.2",
    }


async def test_predictions_name_the_model_and_version(ready: State) -> None:
    response = await post(ready, json=ROW)
    assert (response.status_code, response.json()) == (200, {"predictions": ["leaves"]})
    assert response.headers["X-Modelyard-Model"] == "churn"
    assert response.headers["X-Modelyard-Version"] == "3"


async def test_errors_name_the_model_and_version_too(ready: State) -> None:
    response = await post(ready, json={})
    assert (response.status_code, response.json().keys()) == (400, {"error_code", "message"})
    assert response.headers["X-Modelyard-Version"] == "3"


async def test_any_model_name_fits_in_a_header(ready: State) -> None:
    named = State(harness.config(model_name="Kündigung 100%\r\n(a)", model_version="3"), loaded=ready.model)
    response = await post(named, json=ROW)
    assert response.headers["X-Modelyard-Model"] == "K%C3%BCndigung 100%25%0D%0A(a)"


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1000


@pytest.mark.parametrize(
    ("content", "status"),
    [(b" " * 2000, 400), (b" " * 2001, 413), (lambda: chunks(2), 400), (lambda: chunks(3), 413)],
    ids=["just fits", "declared too long", "fits in chunks", "too long in chunks"],
)
async def test_long_bodies_are_refused(content: Any, status: int, ready: State) -> None:
    body = content() if callable(content) else content
    response = await post(ready, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert response.json()["error_code"] == "BAD_REQUEST"
    assert (response.headers.get("Connection") == "close") == (status == 413)


async def test_a_body_declared_too_long_is_not_read(ready: State) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"2001"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": headers, "query_string": b""}
    await create_app(ready)(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_a_client_that_goes_away_gets_no_answer(ready: State) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": [], "query_string": b""}
    await create_app(ready)(scope, receive, send)
    assert sent == []


async def test_connections_are_closed_only_while_draining(ready: State) -> None:
    assert "Connection" not in (await post(ready, json=ROW)).headers
    ready.phase = Phase.DRAINING
    response = await post(ready, json=ROW)
    assert (response.status_code, response.headers["Connection"]) == (200, "close")
    assert (await get(ready, "/health")).headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/nowhere", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/invocations", 405, "BAD_REQUEST"),
        ("POST", "/health", 405, "BAD_REQUEST"),
    ],
)
async def test_refusals_of_the_router_speak_the_dialect(
    method: str, path: str, status: int, code: str, ready: State
) -> None:
    async with client(ready) as http:
        response = await http.request(method, path)
    assert (response.status_code, response.json()["error_code"]) == (status, code)


async def test_health_is_answered_while_a_prediction_runs(ready: State) -> None:
    started, finish = threading.Event(), threading.Event()

    def slow() -> list[str]:
        started.set()
        assert finish.wait(30)
        return ["stays"]

    harness.predicts(ready, slow)
    async with client(ready) as http:
        prediction = asyncio.create_task(http.post("/invocations", json=ROW))
        assert await asyncio.to_thread(started.wait, 30)
        assert (await http.get("/health")).status_code == 200
        assert not prediction.done()
        finish.set()
        assert (await prediction).status_code == 200


async def test_a_fault_of_ours_is_a_500_that_gives_nothing_away(ready: State, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(type(ready.model.engine), "run", broken)
    response = await post(ready, json=ROW)
    assert (response.status_code, response.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in response.text


def test_predictions_that_are_no_json_are_a_500(ready: State) -> None:
    model = harness.predicts(ready, object)
    with pytest.raises(RequestError, match="no JSON") as raised:
        model.answer("mlflow", harness.request(json.dumps(ROW).encode()))
    assert (raised.value.status, raised.value.code) == (500, "INTERNAL_ERROR")
