from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelyard.api.experiment import Experiment
from modelyard.backend import follow
from modelyard.backend.errors import BackendError
from modelyard.backend.follow import EXPERIMENTS, Asked, Before, Follower, has_ended, verdict
from modelyard.cluster.client import ApiError
from tests.fakes.cluster import FakeClient

Json = dict[str, Any]


def condition(status: str = "Unknown", reason: str = "TrialsRunning", message: str = "") -> Json:
    return {
        "type": "Succeeded",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def experiment(generation: int, execution: str | None, *conditions: Json) -> Experiment:
    status = {"observedGeneration": generation, "execution": execution, "conditions": list(conditions)}
    metadata = {"name": "churn", "namespace": "team", "uid": "u"}
    return Experiment.parse({"metadata": metadata, "spec": {}, "status": status})


DONE = experiment(1, "e1", condition("True", "Completed"))
AGAIN = Before(1, "e1", DONE.status.conditions)


@pytest.mark.parametrize(
    ("asked", "seen", "known"),
    [
        (Asked("team", "churn", "u", 1), experiment(0, None), False),
        (Asked("team", "churn", "u", 1), experiment(1, "e1", condition()), True),
        (Asked("team", "churn", "u", 1), DONE, True),
        # Run once more, with the same spec: what is there is of the time before.
        (Asked("team", "churn", "u", 1, AGAIN), DONE, False),
        (Asked("team", "churn", "u", 1, AGAIN), experiment(1, "e2", condition()), True),
        (Asked("team", "churn", "u", 1, AGAIN), experiment(1, "e1", condition("False", "ProjectNotFound")), True),
        # With another one.
        (Asked("team", "churn", "u", 2, AGAIN), DONE, False),
        (Asked("team", "churn", "u", 2, AGAIN), experiment(2, "e1", condition("False", "ProjectInvalid")), True),
        (Asked("team", "churn", "u", 2, AGAIN), experiment(3, "e2", condition()), True),
    ],
)
def test_only_what_was_asked_for_counts(asked: Asked, seen: Experiment, known: bool) -> None:
    assert (verdict(asked, seen) is not None) is known


@pytest.mark.parametrize(("status", "ended"), [("Unknown", False), ("True", True), ("False", True)])
def test_it_has_ended_unless_it_is_unknown(status: str, ended: bool) -> None:
    asked = Asked("team", "churn", "u", 1)
    assert has_ended(verdict(asked, experiment(1, "e1", condition(status)))) is ended
    assert has_ended(None) is False


@pytest.fixture
def client() -> FakeClient:
    made = FakeClient()
    made.create(EXPERIMENTS, "team", {"metadata": {"name": "churn"}, "spec": {}}, "test")
    return made


def follower(client: FakeClient, said: list[str]) -> Follower:
    uid = client.get(EXPERIMENTS, "team", "churn")["metadata"]["uid"]
    return Follower(client, Asked("team", "churn", uid, 1), say=said.append, show=None)


def passing(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
    """Let something happen between each two looks."""
    left = iter(steps)
    monkeypatch.setattr(follow, "pause", lambda _: next(left)())


def report(client: FakeClient, *conditions: Json) -> None:
    body = client.get(EXPERIMENTS, "team", "churn")
    status = {"observedGeneration": 1, "execution": "e1", "conditions": list(conditions)}
    client.replace_status(EXPERIMENTS, {**body, "status": status}, "operator")


def test_each_state_is_said_once(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    passing(
        monkeypatch,
        lambda: report(client, condition("Unknown", "EnvironmentBuilding", "job a")),
        lambda: None,
        lambda: report(client, condition("True", "Completed", "1 trial succeeded")),
    )
    _, ended = follower(client, said).until(lambda _, condition: has_ended(condition))
    assert ended
    assert ended.reason == "Completed"
    assert said == [
        "Experiment team/churn: EnvironmentBuilding: job a",
        "Experiment team/churn: Completed: 1 trial succeeded",
    ]


def test_an_api_server_that_is_away_is_waited_for_and_that_is_said_once(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    follow_it = follower(client, said)
    failures = [ApiError(0, "Unreachable", "no answer"), ApiError(503, "ServiceUnavailable", "busy")]

    def fail(method: str, path: str) -> None:
        if failures:
            raise failures.pop()

    client._on_request = fail
    passing(monkeypatch, lambda: None, lambda: report(client, condition("True", "Completed")))
    follow_it.until(lambda _, condition: has_ended(condition))
    assert said == ["Experiment team/churn: busy; trying again", "Experiment team/churn: Completed: "]


def test_one_that_stays_away_is_given_up(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    follow_it = follower(client, [])
    times = iter((0.0, 299.0, 301.0))
    monkeypatch.setattr("modelyard.backend.follow.time.monotonic", lambda: next(times))
    passing(monkeypatch, lambda: None, lambda: None)

    def fail(method: str, path: str) -> None:
        raise ApiError(0, "Unreachable", "no answer")

    client._on_request = fail
    with pytest.raises(BackendError, match="goes on, but cannot be followed: no answer"):
        follow_it.until(lambda *_: False)


def test_what_may_not_be_seen_cannot_be_followed(client: FakeClient) -> None:
    follow_it = follower(client, [])

    def fail(method: str, path: str) -> None:
        raise ApiError(403, "Forbidden", "may not get experiments")

    client._on_request = fail
    with pytest.raises(BackendError, match="cannot be followed: may not get experiments"):
        follow_it.until(lambda *_: False)


def test_one_that_was_deleted_is_not_waited_for(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    passing(monkeypatch, lambda: client.delete(EXPERIMENTS, "team", "churn"))
    with pytest.raises(BackendError, match="team/churn was deleted"):
        follower(client, []).until(lambda *_: False)


def test_one_that_was_made_anew_is_another(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace() -> None:
        client.delete(EXPERIMENTS, "team", "churn")
        client.create(EXPERIMENTS, "team", {"metadata": {"name": "churn"}, "spec": {}}, "test")

    passing(monkeypatch, replace)
    with pytest.raises(BackendError, match="made anew by somebody else"):
        follower(client, []).until(lambda *_: False)
