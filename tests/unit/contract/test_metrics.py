"""What a model server measures is what the operator reads."""

from __future__ import annotations

import math

import pytest

from modelyard.api.serving import DRAIN_SECONDS
from modelyard.desired import pods
from modelyard.desired.reader import Reader, control_token
from modelyard.metrics import scrape
from modelyard.metrics.parse import parse
from modelyard_serving import control
from modelyard_serving.compare import predictions_of
from modelyard_serving.config import Config
from modelyard_serving.metrics import Metrics, render
from modelyard_serving.model import Answer
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.recent import Remembered
from modelyard_serving.server import GRACE_SECONDS
from modelyard_serving.tally import Tally

SERVED = {
    "MODELYARD_MODEL_NAME": "churn",
    "MODELYARD_MODEL_VERSION": "3",
    "MODELYARD_MODEL_SOURCE": "s3://models/churn",
    "MODELYARD_MODEL_DIGEST": "sha256:" + "0" * 64,
}


def test_traffic_is_read_as_it_was_counted() -> None:
    metrics = Metrics()
    metrics.loaded('Kündigung "a"', "4", "sha256:0", "sklearn")
    for status in (200, 200, 500):
        metrics.answered(status, 0.01, "mlflow")
    read = parse(render(metrics.registry).decode())
    assert (read.version, read.requests, read.failed) == ("4", {"200": 2, "500": 1}, 1)
    assert read.seconds.total == 3
    assert (read.seconds.above(0.02), read.seconds.above(0.01)) == (0, 3)
    assert read.memory_growth is not None
    assert read.started is not None


def test_replays_are_read_as_they_were_counted() -> None:
    metrics, tally = Metrics(), Tally("3")
    metrics.loaded("churn", "4", "sha256:0", "sklearn")
    tally.compared(
        Remembered(1, "mlflow", HttpRequest(b""), b'{"predictions": [2.0, 4.0, "a,b}\\n"]}', 0.01),
        Answer(b'{"predictions": [1.0, NaN, "a,b}\\n"]}', 0.02),
        predictions_of,
    )
    tally.failed()
    tally.fetch_failed()
    replay = parse(render(metrics.registry, tally.registry).decode()).replay
    assert (replay.reference_version, replay.requests, replay.errors, replay.fetch_errors) == ("3", 2, 1, 1)
    assert {bound: count for bound, count in replay.difference.counts.items() if count} == {0: 1, 0.5: 1, math.inf: 1}
    assert replay.invalid == {"candidate": 1, "reference": 0}
    assert replay.answers["reference"] == {"f8808": 1, "f8816": 1, "a,b}?": 1}
    assert replay.answers["candidate"] == {"f8800": 1, "a,b}?": 1}
    assert replay.least == {"reference": 2, "candidate": 1}
    assert replay.greatest == {"reference": 4, "candidate": 1}
    assert {side: histogram.total for side, histogram in replay.seconds.items()} == {"reference": 1, "candidate": 1}


def test_a_server_that_has_replayed_nothing_has_no_replay() -> None:
    metrics = Metrics()
    metrics.loaded("churn", "4", "sha256:0", "sklearn")
    replay = parse(render(metrics.registry).decode()).replay
    assert (replay.reference_version, replay.requests) == ("", 0)


@pytest.mark.parametrize("namespace", ["ml", "a-namespace-with-a-long-name"])
def test_the_operators_token_is_one_for_the_server(namespace: str) -> None:
    token = control_token(Reader("key", "secret", None, "us-east-1"), namespace)
    assert Config.from_env(SERVED | {"MODELYARD_CONTROL_TOKEN": token}).control_token == token


def test_the_operators_leases_are_within_the_servers_bounds() -> None:
    assert scrape.LEASE_SECONDS <= control.MAX_LEASE_SECONDS
    assert scrape.MAX_REFERENCES <= control.MAX_REFERENCES


def test_as_many_requests_as_a_user_may_ask_for_can_be_remembered() -> None:
    assert Config.from_env(SERVED | {"MODELYARD_RECENT_REQUESTS": "10000"}).recent_requests == 10_000


def test_a_server_ends_before_kubernetes_kills_it() -> None:
    assert DRAIN_SECONDS + pods.SHUTDOWN_SECONDS + GRACE_SECONDS < pods.GRACE_SECONDS
