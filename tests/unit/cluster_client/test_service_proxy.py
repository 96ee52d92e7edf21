"""Requests to a Service by way of the API server: what the Service sees, and who is refused by whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import kubernetes.client
import pytest

from modelyard.cluster.client import Client
from modelyard.cluster.service_proxy import ServiceProxy

PROXY = "/api/v1/namespaces/system/services/mlflow:http/proxy"


@dataclass
class ApiServer:
    """Answers what it is told to, and keeps what it was asked."""

    status: int = 200
    answer: bytes = b'{"runs": []}'
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def api() -> Iterator[ApiServer]:
    state = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {key.lower(): value for key, value in self.headers.items()}
            state.asked.append((self.command, self.path, headers, body))
            self.send_response(state.status)
            self.send_header("content-length", str(len(state.answer)))
            self.end_headers()
            self.wfile.write(state.answer)

        do_GET = do_POST = _answer  # noqa: N815 - the names that the base class calls

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def http(url: str) -> httpx.Client:
    configuration = kubernetes.client.Configuration()
    configuration.host = url
    configuration.api_key = {"authorization": "Bearer mine"}
    configuration.retries = False
    client = Client(kubernetes.client.ApiClient(configuration))
    return httpx.Client(
        base_url="http://mlflow.system.svc:5000", transport=ServiceProxy(client, "system", "mlflow", "http")
    )


def test_the_service_is_asked_by_its_own_name_and_the_api_server_knows_who_asks(api: ApiServer) -> None:
    answer = http(api.url).post("/api/2.0/mlflow/runs/search", json={"filter": "tags.`a` = 'b'"})
    assert answer.json() == {"runs": []}
    method, path, headers, body = api.asked[0]
    assert (method, path) == ("POST", f"{PROXY}/api/2.0/mlflow/runs/search")
    assert (headers["host"], headers["authorization"]) == ("mlflow.system.svc:5000", "Bearer mine")
    assert json.loads(body) == {"filter": "tags.`a` = 'b'"}


def test_what_is_encoded_stays_as_it_is(api: ApiServer) -> None:
    http(api.url).get("/artifacts/a%20b/c%25", params={"run_id": "x&y z"})
    assert api.asked[0][1] == f"{PROXY}/artifacts/a%20b/c%25?run_id=x%26y+z"


def test_a_refusal_of_the_service_is_an_answer(api: ApiServer) -> None:
    api.status, api.answer = 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
    assert http(api.url).get("/").status_code == 404


@pytest.mark.parametrize(("status", "body"), [(403, b"no JSON"), (404, b"[]"), (500, b'{"kind": "Status"}')])
def test_an_answer_of_any_form_is_passed_on(api: ApiServer, status: int, body: bytes) -> None:
    api.status, api.answer = status, body
    assert http(api.url).get("/").content == body


def test_a_refusal_of_the_api_server_is_none_of_the_service(api: ApiServer) -> None:
    refusal = {"kind": "Status", "apiVersion": "v1", "message": 'cannot create resource "services/proxy"'}
    api.status, api.answer = 403, json.dumps(refusal).encode()
    with pytest.raises(httpx.ConnectError, match="cannot create resource"):
        http(api.url).get("/")


def test_an_api_server_that_is_not_there() -> None:
    with pytest.raises(httpx.ConnectError, match="the API server did not answer GET /api/v1/namespaces/system"):
        http("http://127.0.0.1:1").get("/")
