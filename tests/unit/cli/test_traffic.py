"""What pods have answered, asked through the API server."""

from __future__ import annotations

import threading

import pytest

from modelyard.api.names import REVISION_LABEL
from modelyard.cli.traffic import Traffic, ask, by_revision, p99
from modelyard.cluster.client import ApiError, Json
from modelyard.decide.pod_metrics import Histogram, PodMetrics
from tests.fakes.cluster import FakeClient
from tests.unit.cli.deployments import metrics


def pod(name: str, revision: str = "r4", *, ready: bool = True) -> Json:
    metadata = {"name": name, "namespace": "ml", "uid": f"uid-{name}", "labels": {REVISION_LABEL: revision}}
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def path(name: str) -> str:
    return f"/api/v1/namespaces/ml/pods/{name}:8080/proxy/metrics"


def counting(requests: int) -> PodMetrics:
    return PodMetrics(requests={"200": requests})


def test_only_ready_pods_are_asked() -> None:
    client = FakeClient()
    client.answers[path("a")] = metrics(4, 10)
    found = ask(client, [pod("a"), pod("starting", ready=False)])
    assert client.requests == [("GET", path("a"))]
    assert found.counted["uid-a"].requests == {"200": 10, "500": 0}
    assert found.silent == ()


def test_who_does_not_answer_is_named_and_who_may_not_ask_is_told() -> None:
    def refuse(method: str, asked: str) -> None:
        if asked == path("b"):
            raise ApiError(503, "ServiceUnavailable", "no endpoints")
        if asked == path("c"):
            raise ApiError(403, "Forbidden", "pods/proxy is forbidden")

    found = ask(FakeClient(refuse), [pod("b"), pod("c"), pod("gone")])
    assert found.silent == ("b", "gone")
    assert found.forbidden == "pods/proxy is forbidden"


def test_a_pod_that_never_answers_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    # Long enough for the pod that does answer, on a machine that is busy.
    monkeypatch.setattr("modelyard.cli.traffic._PATIENCE_SECONDS", 2.0)

    def hang(method: str, asked: str) -> None:
        if asked == path("b"):
            never.wait(60)

    client = FakeClient(hang)
    client.answers[path("a")] = metrics(4, 10)
    try:
        found = ask(client, [pod("a"), pod("b")])
    finally:
        never.set()
    assert (set(found.counted), found.silent) == ({"uid-a"}, ("b",))


@pytest.mark.parametrize(
    ("before", "now", "requests"),
    [
        (None, {"uid-a": counting(10), "uid-b": counting(5)}, 15),
        ({"uid-a": counting(4), "uid-b": counting(5)}, {"uid-a": counting(10), "uid-b": counting(5)}, 6),
        # A pod that was not seen before is passed over until the next look.
        ({"uid-a": counting(4)}, {"uid-a": counting(10), "uid-b": counting(500)}, 6),
        # A process that began anew counts from nothing.
        ({"uid-a": counting(400)}, {"uid-a": counting(10)}, 10),
    ],
)
def test_totals_and_differences(
    before: dict[str, PodMetrics] | None, now: dict[str, PodMetrics], requests: int
) -> None:
    past = Traffic(before) if before is not None else None
    found = by_revision([pod("a"), pod("b")], Traffic(now), past)
    assert sum(found["r4"].requests.values()) == requests


def test_revisions_are_apart() -> None:
    found = by_revision([pod("a"), pod("b", "r5")], Traffic({"uid-a": counting(1), "uid-b": counting(2)}), None)
    assert {revision: counted.requests["200"] for revision, counted in found.items()} == {"r4": 1, "r5": 2}


def test_the_99th_percentile_lies_within_its_bucket() -> None:
    inf = float("inf")
    assert p99(PodMetrics()) is None
    assert p99(PodMetrics(seconds=Histogram({0.01: 98, 0.02: 2, inf: 0}))) == pytest.approx(0.015)
    assert p99(PodMetrics(seconds=Histogram({0.01: 1, inf: 99}))) == 0.01
