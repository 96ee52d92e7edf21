from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from modelyard_serving.app import create_app
from modelyard_serving.labels import printable
from modelyard_serving.metrics import SECONDS_BUCKETS, Metrics, render, resident_memory
from modelyard_serving.state import State
from tests.unit.serving import harness
from tests.unit.serving.processes import ROW
from tests.unit.serving.prometheus import Scrape


@pytest.fixture
def state(saved_model: Callable[[str], Path]) -> State:
    state = State(harness.config())
    state.ready(harness.model(saved_model("labels_text")))
    return state


async def scrape(http: httpx.AsyncClient) -> Scrape:
    response = await http.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(response.text)


def test_the_buckets_go_from_half_a_millisecond_to_a_minute_in_steps_of_a_fifth() -> None:
    assert SECONDS_BUCKETS[0] == 0.0005
    assert 55 < SECONDS_BUCKETS[-1] < 61
    ratios = [upper / lower for lower, upper in pairwise(SECONDS_BUCKETS)]
    assert ratios == pytest.approx([1.2] * len(ratios), rel=1e-4)


async def test_requests_are_counted_by_status_and_timed(state: State) -> None:
    async with harness.client(create_app(state)) as http:
        for _ in range(3):
            await http.post("/invocations", json=ROW)
        await http.post("/invocations", json={})
        await http.get("/health")
        found = await scrape(http)
    assert found("modelyard_requests_total", code="200") == 3
    assert found("modelyard_requests_total", code="400") == 1
    assert found("modelyard_request_seconds_count") == 4
    assert found("modelyard_request_seconds_bucket", le="+Inf") == 4
    assert 0 < found("modelyard_request_seconds_sum") < 60
    assert found("modelyard_requests_in_flight") == 0


async def test_requests_being_answered_are_in_flight(state: State) -> None:
    started, finish = threading.Event(), threading.Event()

    def slow() -> list[str]:
        started.set()
        assert finish.wait(30)
        return ["stays"]

    harness.predicts(state, slow)
    async with harness.client(create_app(state)) as http:
        prediction = asyncio.create_task(http.post("/invocations", json=ROW))
        assert await asyncio.to_thread(started.wait, 30)
        assert (await scrape(http))("modelyard_requests_in_flight") == 1
        finish.set()
        await prediction
        assert (await scrape(http))("modelyard_requests_in_flight") == 0


async def test_what_is_served_and_what_it_takes_is_told(state: State) -> None:
    async with harness.client(create_app(state)) as http:
        found = await scrape(http)
    assert found.labels("modelyard_info") == [
        {"model": "churn", "version": "3", "digest": "sha256:" + "0" * 64, "flavor": "sklearn", "runtime": "native"}
    ]
    assert found("modelyard_memory_after_load_bytes") > 1e7
    assert found("process_resident_memory_bytes") == pytest.approx(resident_memory(), rel=0.2)
    assert not found.labels("modelyard_replay_info")


async def test_metrics_are_told_before_the_model_is_loaded() -> None:
    async with harness.client(create_app(State(harness.config()))) as http:
        await http.post("/invocations", json=ROW)
        found = await scrape(http)
    assert found("modelyard_requests_total", code="503") == 1
    assert not found.labels("modelyard_info")


def test_any_model_name_is_a_label() -> None:
    metrics = Metrics()
    metrics.loaded('Kündigung "a"\n\u2028\ud800\\', "3", "d", "sklearn")
    (labels,) = Scrape(render(metrics.registry).decode()).labels("modelyard_info")
    assert labels["model"] == 'Kündigung "a"???\\'


def test_what_is_printable_stays_as_it_is() -> None:
    assert printable("ä b") == "ä b"
