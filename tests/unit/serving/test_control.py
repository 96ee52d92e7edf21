from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard_serving.app import create_app
from modelyard_serving.state import Phase, State
from tests.unit.serving import harness
from tests.unit.serving.processes import ROW

TOKEN = "0123456789abcdef" * 4
GOOD = {"Authorization": f"Bearer {TOKEN}"}
LEASE = {"from": [], "version": "2", "seconds": 0}


@pytest.fixture
def state(saved_model: Callable[[str], Path]) -> State:
    state = State(harness.config(control_token=TOKEN, recent_requests=3))
    state.ready(harness.model(saved_model("labels_text")))
    return state


async def ask(state: State, method: str, path: str, headers: Any = GOOD, **request: Any) -> httpx.Response:
    async with harness.client(create_app(state)) as http:
        return await http.request(method, path, headers=headers, **request)


@pytest.mark.parametrize(("method", "path"), [("GET", "/modelyard/recent"), ("PUT", "/modelyard/replay")])
class TestAccess:
    async def test_without_a_token_there_is_nothing(self, method: str, path: str) -> None:
        response = await ask(State(harness.config()), method, path, json=LEASE)
        assert (response.status_code, response.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": ""},
            {"Authorization": TOKEN},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": f"Bearer {TOKEN[:-1]}"},
            {"Authorization": b"Bearer \xff\xfe"},
        ],
    )
    async def test_with_another_token_nobody_gets_in(self, headers: Any, method: str, path: str, state: State) -> None:
        response = await ask(state, method, path, headers, json=LEASE)
        assert (response.status_code, response.json()["error_code"]) == (401, "UNAUTHENTICATED")


async def test_successful_requests_are_remembered(state: State) -> None:
    async with harness.client(create_app(state)) as http:
        for _ in range(5):
            answer = await http.post("/invocations", json=ROW)
        await http.post("/invocations", json={})
        everything = (await http.get("/modelyard/recent", headers=GOOD)).json()
        some = (await http.get("/modelyard/recent?after=3&limit=1", headers=GOOD)).json()
    assert (everything["version"], some["instance"]) == ("3", everything["instance"])
    assert [each["seq"] for each in everything["requests"]] == [3, 4, 5]
    (request,) = some["requests"]
    assert request["seq"] == 4
    assert request["contentType"] == "application/json"
    assert json.loads(b64decode(request["body"])) == ROW
    assert b64decode(request["answer"]) == answer.content
    assert 0 < request["seconds"] < 60


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1001", "after=9" + "9" * 20, "limit=²"])
async def test_pages_have_bounds(query: str, state: State) -> None:
    response = await ask(state, "GET", f"/modelyard/recent?{query}")
    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 60_000,
        b"[]",
        *(
            json.dumps({**LEASE, **wrong}).encode()
            for wrong in (
                {"from": None},
                {"from": "http://x"},
                {"from": [1]},
                {"from": ["file:///etc/passwd"]},
                {"from": ["http://x"] * 257},
                {"version": 2},
                {"version": ""},
                {"seconds": "30"},
                {"seconds": True},
                {"seconds": -1},
                {"seconds": 301},
                {"seconds": float("nan")},
            )
        ),
    ],
)
async def test_a_lease_has_a_form(body: bytes, state: State) -> None:
    response = await ask(state, "PUT", "/modelyard/replay", content=body)
    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


async def test_a_lease_is_short(state: State) -> None:
    assert (await ask(state, "PUT", "/modelyard/replay", content=b" " * 70_000)).status_code == 413


async def test_a_version_is_not_compared_with_itself(state: State) -> None:
    response = await ask(state, "PUT", "/modelyard/replay", json={**LEASE, "version": "3"})
    assert (response.status_code, response.json()["error_code"]) == (409, "RESOURCE_CONFLICT")


@pytest.mark.parametrize(("phase", "status"), [(Phase.LOADING, 503), (Phase.READY, 200), (Phase.DRAINING, 503)])
async def test_only_a_ready_server_replays(phase: Phase, status: int, state: State) -> None:
    state.phase = phase
    assert (await ask(state, "PUT", "/modelyard/replay", json=LEASE)).status_code == status


async def test_a_lease_says_how_many_were_replayed(state: State) -> None:
    assert (await ask(state, "PUT", "/modelyard/replay", json=LEASE)).json() == {"replayed": 0}
