"""Webhooks from the operator's own process, which is killed, to a receiver that fails."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.api.model_status import WebhookStatus
from modelyard.notify.sender import TOTAL_SECONDS
from tests.e2e.api_server import NAMESPACE
from tests.e2e.operator_process import kill, run_operator
from tests.e2e.processes import wait_until
from tests.e2e.registry_fixtures import Cluster, api_server, minio, own_cluster
from tests.fakes.receiver import Receiver, receiver

__all__ = ["api_server", "minio", "own_cluster"]

pytestmark = pytest.mark.timeout(600)

SECRET = "modelyard-webhooks"


@pytest.fixture
def ci() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def model(own_cluster: Cluster, ci: Receiver) -> Iterator[str]:
    """A model with two versions in Git and a receiver."""
    name = f"hooks-{uuid.uuid4().hex[:8]}"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"ci": ci.secret}}
    own_cluster.kubectl("apply", "-f", "-", stdin=json.dumps({**secret, "type": "Opaque"}))
    own_cluster.apply(name, {"versions": declared(own_cluster, name), "webhooks": [webhook(ci)]}, "argocd-controller")
    yield name
    own_cluster.kubectl("delete", "registeredmodel", name)


def declared(cluster: Cluster, name: str) -> list[dict[str, object]]:
    return [
        {
            "version": version,
            "source": cluster.put_model(f"{name}-{version}", str(version).encode()),
            "metrics": {"f1_score": score},
        }
        for version, score in ((1, "0.91"), (2, "0.71"))
    ]


def webhook(to: Receiver, name: str = "ci") -> dict[str, object]:
    return {"name": name, "url": to.url, "secretRef": {"name": SECRET, "key": "ci"}}


def status(cluster: Cluster, model: str, name: str = "ci") -> WebhookStatus:
    found = cluster.model(model).status.webhooks
    return next((each for each in found if each.name == name), WebhookStatus(name=name))


def test_transitions_and_refusals_reach_the_receiver_signed_and_in_order(
    own_cluster: Cluster, model: str, ci: Receiver, tmp_path: Path
) -> None:
    with run_operator(own_cluster, tmp_path):
        own_cluster.patch(model, {"stages": {"production": 1}})
        wait_until("a delivery", lambda: len(ci.taken) == 1)
        own_cluster.patch(
            model,
            {
                "gates": {"production": [{"name": "quality", "metric": "f1_score", "min": "0.85"}]},
                "stages": {"production": 2},
            },
        )
        wait_until("another", lambda: len(ci.taken) == 2)
        wait_until("a note of it", lambda: status(own_cluster, model).delivered == ci.sequences[-1])
    promoted, refused = (delivery.event for delivery in ci.taken)
    assert promoted["type"] == "dev.modelyard.registeredmodel.stages-changed.v1"
    assert promoted["source"] == f"/namespaces/{NAMESPACE}/registeredmodels/{model}"
    assert promoted["data"]["stages"]["production"]["version"] == 1
    assert refused["type"] == "dev.modelyard.registeredmodel.promotion-refused.v1"
    assert refused["subject"] == "versions/2"
    assert refused["data"]["gates"][0]["name"] == "quality"
    assert "0.71" in refused["data"]["gates"][0]["message"]


def test_an_operator_that_is_killed_while_a_receiver_fails_leaves_nothing_out(
    own_cluster: Cluster, model: str, ci: Receiver, tmp_path: Path
) -> None:
    ci.answer = lambda _: 503
    with run_operator(own_cluster, tmp_path) as operator:
        own_cluster.patch(model, {"stages": {"production": 1}})
        wait_until("an attempt in vain", lambda: status(own_cluster, model).attempts >= 1)
        own_cluster.patch(model, {"stages": {"production": 2}})
        wait_until("a promotion", lambda: own_cluster.model(model).status.stages["production"].version == 2)
        kill(operator)
    assert "answered 503" in (status(own_cluster, model).last_error or "")
    ci.answer = lambda _: 204
    with run_operator(own_cluster, tmp_path):
        wait_until("both deliveries", lambda: len(ci.taken) >= 2)
        wait_until("a note of it", lambda: status(own_cluster, model).attempts == 0)
    assert [event["data"]["stages"]["production"]["version"] for event in (each.event for each in ci.taken)] == [1, 2]
    assert own_cluster.model(model).status.webhooks[0].last_error is None


def test_an_operator_that_is_killed_before_it_notes_an_answer_repeats_only_that(
    own_cluster: Cluster, model: str, ci: Receiver, tmp_path: Path
) -> None:
    with run_operator(own_cluster, tmp_path) as operator:

        def die(_: object) -> int:
            kill(operator)
            return 204

        wait_until("a cursor", lambda: bool(own_cluster.model(model).status.webhooks))
        ci.answer = die
        own_cluster.patch(model, {"stages": {"production": 1}})
        wait_until("the operator's end", lambda: operator.process.poll() is not None)
    wait_until("the receiver's note of what it took", lambda: len(ci.taken) == 1)
    ci.answer = lambda _: 204
    first = ci.sequences
    with run_operator(own_cluster, tmp_path):
        wait_until("it again", lambda: ci.sequences == first * 2)
        own_cluster.patch(model, {"stages": {"production": 2}})
        wait_until("the next", lambda: len(ci.taken) == 3)
    assert ci.sequences == [*first, *first, first[0] + 1]


def test_a_dead_receiver_delays_no_promotion_and_no_other_receiver(
    own_cluster: Cluster, model: str, ci: Receiver, tmp_path: Path
) -> None:
    with receiver(answer=lambda _: None) as silent:
        own_cluster.patch(
            model, {"webhooks": [webhook(ci), *(webhook(silent, f"silent-{number}") for number in range(7))]}
        )
        with run_operator(own_cluster, tmp_path):
            wait_until("all cursors", lambda: len(own_cluster.model(model).status.webhooks) == 8)
            own_cluster.patch(model, {"stages": {"production": 1}})
            wait_until("seven requests that hang", lambda: len(silent.requests) == 7)
            started = time.monotonic()
            own_cluster.patch(model, {"stages": {"production": 2}})
            wait_until("a promotion", lambda: own_cluster.model(model).status.stages["production"].version == 2)
            wait_until("its delivery", lambda: len(ci.taken) == 2)
            # Who waited for those that hang would do so until they are given up.
            assert time.monotonic() - started < TOTAL_SECONDS - 2
            silent.ended.set()
