"""The records over HTTP: the bytes as they are stored, to those who have the token, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError

from modelyard.api.names import RECORDS_TOKEN_HEADER
from modelyard.handlers import records_api
from modelyard.handlers.records_api import RecordsApi
from tests.fakes import artifacts
from tests.unit.registry.world import World

TOKEN = "a token of the tests"
CHURN = "/v1/namespaces/ml/registeredmodels/churn"


@pytest.fixture
def world() -> Iterator[World]:
    with artifacts.bucket() as bucket:
        made = World(bucket)
        made.create()
        for number in range(5):
            made.register(source=f"m{number}")
        yield made


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    api = RecordsApi(
        world.store, "s3://models/team/artifacts", TOKEN, namespaces=("ml", "other"), host="127.0.0.1", port=0
    )
    await api.start()
    headers = {RECORDS_TOKEN_HEADER: TOKEN}
    # Many requests wait for four threads, on a machine that may be busy.
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}", headers=headers, timeout=60) as client:
        yield client
    await api.stop()


def keys(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["key"] for line in answer.text.splitlines()]


async def test_records_are_given_as_they_are_stored(world: World, http: httpx.AsyncClient) -> None:
    answer = await http.get(f"{CHURN}/records")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    stored = world.registry.ledger("ml", "churn").raw(0, 100)
    assert [(line["key"], base64.b64decode(line["body"])) for line in lines] == [
        (key.rsplit("/", 1)[1], data) for key, data in stored
    ]
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?after=3", ["00000004.json", "00000005.json"]),
        ("?after=3&limit=1", ["00000004.json"]),
        ("?limit=2", ["00000001.json", "00000002.json"]),
        ("?after=5", []),
        ("?after=999999999", []),
    ],
)
async def test_page_by_page(http: httpx.AsyncClient, query: str, expected: list[str]) -> None:
    assert keys(await http.get(f"{CHURN}/records{query}")) == expected


async def test_a_page_is_bounded_in_bytes_too(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_api, "PAGE_BYTES", 1)
    assert keys(await http.get(f"{CHURN}/records?after=1")) == ["00000002.json"]


async def test_a_model_without_records_has_an_empty_page(http: httpx.AsyncClient) -> None:
    assert keys(await http.get("/v1/namespaces/ml/registeredmodels/unknown/records")) == []


async def test_the_log_of_a_validation(world: World, http: httpx.AsyncClient) -> None:
    key = world.registry.ledger("ml", "churn").evidence_key("smoke-test-4.log")
    world.store.put(key, "<b>für</b>\n".encode())
    answer = await http.get(f"{CHURN}/evidence/smoke-test-4.log")
    assert (answer.status_code, answer.text) == (200, "<b>für</b>\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await http.get(f"{CHURN}/evidence/none")).status_code == 404


async def test_where_the_models_files_are(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/store")).json() == {"artifacts": "s3://models/team/artifacts"}


@pytest.mark.parametrize("token", ["", "another", TOKEN + "x", TOKEN[:-1]])
async def test_without_the_token_there_is_nothing(http: httpx.AsyncClient, token: str) -> None:
    for path in ("/", f"{CHURN}/records", f"{CHURN}/evidence/x"):
        answer = await http.get(path, headers={RECORDS_TOKEN_HEADER: token})
        assert answer.status_code == 403
        assert TOKEN not in answer.text


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{CHURN}/records?after=x", 400),
        (f"{CHURN}/records?after=-1", 400),
        (f"{CHURN}/records?limit=0", 400),
        (f"{CHURN}/records?limit=1001", 400),
        ("/v1/namespaces/ml/registeredmodels/a%2F..%2Fb/records", 400),
        ("/v1/namespaces/ML/registeredmodels/churn/records", 400),
        (f"{CHURN}/evidence/..%2Flog%2F00000001.json", 400),
        ("/v1/namespaces/elsewhere/registeredmodels/churn/records", 404),
        ("/v1/namespaces", 404),
    ],
)
async def test_what_cannot_be_asked_for(http: httpx.AsyncClient, path: str, code: int) -> None:
    answer = await http.get(path)
    assert answer.status_code == code, answer.text
    assert answer.json()["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_it_is_there_to_read_only(http: httpx.AsyncClient, method: str) -> None:
    assert (await http.request(method, f"{CHURN}/records")).status_code == 405


async def test_a_store_that_does_not_answer_is_said(world: World, http: httpx.AsyncClient) -> None:
    def fail(operation: str) -> None:
        raise EndpointConnectionError(endpoint_url="http://minio:9000")

    world.bucket.before_request(fail)
    answer = await http.get(f"{CHURN}/records")
    assert answer.status_code == 503, answer.text


async def test_many_requests_at_a_time_are_answered_or_sent_away(http: httpx.AsyncClient) -> None:
    codes = [answer.status_code for answer in await asyncio.gather(*(http.get(f"{CHURN}/records") for _ in range(60)))]
    assert set(codes) <= {200, 429}
    assert codes.count(200) >= 32
