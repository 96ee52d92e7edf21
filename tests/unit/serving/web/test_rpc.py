"""What gRPC asks is counted, and its memory bounded, as for HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard_serving.call import Reply
from modelyard_serving.errors import RequestError
from modelyard_serving.metrics import render
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.mlflow import MlflowDialect
from modelyard_serving.state import State
from modelyard_serving.web.endpoint import Endpoint, Shared
from modelyard_serving.web.rpc import counted
from tests.unit.serving import harness
from tests.unit.serving.prometheus import Scrape

ROW = harness.request(b'{"dataframe_records": [{"tenure": 3, "charge": 99.5, "plan": "plus"}]}')


@pytest.fixture
def endpoint(saved_model: Callable[[str], Path]) -> Endpoint:
    state = State(harness.config(max_body_bytes=1000))
    state.ready(harness.model(saved_model("labels_text")))
    return Endpoint(Shared(state), "mlflow", MlflowDialect.refuse)


async def test_an_answer_is_counted_and_its_memory_given_back(endpoint: Endpoint) -> None:
    reply = await counted(endpoint, ROW, 30)
    assert isinstance(reply, Reply)
    assert reply.body == b'{"predictions": ["leaves"]}'
    assert (endpoint.shared.budget.held, endpoint.shared.state.metrics.in_flight) == (0, 0)


@pytest.mark.parametrize(
    ("body", "held", "status"), [(b"{}", 0, 400), (b"x" * 501, 3500, 503)], ids=["refused", "too much memory"]
)
async def test_a_refusal_is_counted_by_its_status(body: bytes, held: int, status: int, endpoint: Endpoint) -> None:
    endpoint.shared.budget.take(held)
    with pytest.raises(RequestError) as raised:
        await counted(endpoint, HttpRequest(body, ROW.headers), 30)
    assert raised.value.status == status
    assert endpoint.shared.budget.held == held
    scrape = Scrape(render(endpoint.shared.state.metrics.registry).decode())
    assert scrape("modelyard_requests_total", code=str(status)) == 1
    assert scrape("modelyard_protocol_requests_total", protocol="grpc", code=str(status)) == 1
