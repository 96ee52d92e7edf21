from __future__ import annotations

from typing import Any

from modelyard.api.names import EXECUTION_LABEL, EXPERIMENT_LABEL, TRIAL_LABEL
from modelyard.backend.logs import AT_ONCE, Logs
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import PODS
from modelyard.desired.experiment import TRIAL_CONTAINER
from tests.fakes.cluster import FakeClient

Json = dict[str, Any]
RUNNING: Json = {"running": {}}
TERMINATED: Json = {"terminated": {"exitCode": 0}}


class Recording(FakeClient):
    """Keeps how logs were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[dict[str, str]] = []
        self.refuse: int | None = None

    def read(
        self, path: str, query: list[tuple[str, str]] | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        self.queries.append(dict(query or ()))
        if self.refuse:
            raise ApiError(self.refuse, "BadRequest", "the container is waiting to start")
        return super().read(path, query, headers)


def trial(client: FakeClient, index: int, state: Json, log: str = "", execution: str = "e1") -> str:
    name = f"churn-{execution}-{index}"
    labels = {EXPERIMENT_LABEL: "churn", EXECUTION_LABEL: execution, TRIAL_LABEL: str(index)}
    client.create(PODS, "team", {"metadata": {"name": name, "labels": labels}}, "test")
    turn(client, name, state)
    write(client, name, log)
    return name


def turn(client: FakeClient, name: str, state: Json) -> None:
    status = {"containerStatuses": [{"name": "project", "state": {}}, {"name": TRIAL_CONTAINER, "state": state}]}
    client.replace_status(PODS, {**client.get(PODS, "team", name), "status": status}, "kubelet")


def write(client: FakeClient, name: str, log: str) -> None:
    client.answers[PODS.path("team", name, "log")] = log.encode()


def new(logs: Logs, *, several: bool = False) -> list[str]:
    return list(logs.new("e1", several=several))


def test_each_line_is_given_once_also_where_several_have_the_same_time() -> None:
    client = Recording()
    name = trial(client, 0, RUNNING, "2026-01-01T00:00:01.5Z a\n2026-01-01T00:00:01.5Z b\n")
    logs = Logs(client, "team", "churn")
    assert new(logs) == ["a", "b"]
    assert new(logs) == []
    write(client, name, "2026-01-01T00:00:01.5Z a\n2026-01-01T00:00:01.5Z b\n2026-01-01T00:00:01.5Z b\n")
    assert new(logs) == ["b"]
    write(client, name, "2026-01-01T00:00:01.5Z a\n" + 2 * "2026-01-01T00:00:01.5Z b\n" + "2026-01-01T00:00:02.0Z \n")
    assert new(logs) == [""]
    assert "sinceTime" not in client.queries[0]
    assert client.queries[-1] == {
        "container": TRIAL_CONTAINER,
        "timestamps": "true",
        "sinceTime": "2026-01-01T00:00:01Z",
    }


def test_the_nodes_time_zone_stays() -> None:
    client = Recording()
    trial(client, 0, RUNNING, "2026-01-01T00:00:01.123456789+02:00 a\n")
    logs = Logs(client, "team", "churn")
    assert new(logs) == ["a"]
    new(logs)
    assert client.queries[-1]["sinceTime"] == "2026-01-01T00:00:01+02:00"


def test_a_line_that_is_being_written_waits_for_its_end() -> None:
    client = Recording()
    name = trial(client, 0, RUNNING, "2026-01-01T00:00:01.5Z half")
    logs = Logs(client, "team", "churn")
    assert new(logs) == []
    turn(client, name, TERMINATED)
    assert new(logs) == ["half"]


def test_a_log_that_has_ended_is_read_once_more_and_never_again() -> None:
    client = Recording()
    trial(client, 0, TERMINATED, "2026-01-01T00:00:01.5Z all\n")
    logs = Logs(client, "team", "churn")
    assert new(logs) == ["all"]
    new(logs)
    assert len(client.queries) == 1


def test_several_trials_lines_name_them_and_some_are_shown_at_a_time() -> None:
    client = Recording()
    for index in range(AT_ONCE + 2):
        trial(client, index, RUNNING, f"2026-01-01T00:00:01.5Z line {index}\n")
    logs = Logs(client, "team", "churn")
    assert new(logs, several=True) == [f"[{index}] line {index}" for index in range(AT_ONCE)]
    for index in range(AT_ONCE):
        turn(client, f"churn-e1-{index}", TERMINATED)
    new(logs, several=True)
    assert new(logs, several=True) == [f"[{index}] line {index}" for index in (AT_ONCE, AT_ONCE + 1)]


def test_pods_that_have_not_started_or_are_anothers_are_passed_over() -> None:
    client = Recording()
    trial(client, 0, {"waiting": {"reason": "PodInitializing"}}, "x\n")
    trial(client, 1, RUNNING, "2026-01-01T00:00:01.5Z old\n", execution="e0")
    client.refuse = 400
    trial(client, 2, RUNNING)
    assert new(Logs(client, "team", "churn")) == []
    assert len(client.queries) == 1
