"""The log of a failed trial is kept with its run."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import PODS
from modelyard.decide.experiment_model import LOG_ARTIFACT, Run
from modelyard.reconcile.trial_logs import BYTES, TrialLogs
from modelyard.tracking.client import TrackingError, TrackingUnreachable
from tests.fakes.cluster import FakeClient
from tests.fakes.tracking import FakeTracking

Json = dict[str, Any]
ENDED = {"terminated": {"exitCode": 1, "reason": "Error"}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
WAITING = {"waiting": {"reason": "PodInitializing"}}


class World(FakeClient):
    """An API server with pods and their logs, by pod and container."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, tzinfo=UTC)
        super().__init__(clock=lambda: self.now)
        self.tracking = FakeTracking()
        self.run = self.tracking.create_run("1", "trial", {}, 1)
        self.logs: dict[tuple[str, str], str | ApiError] = {}
        self.seconds = 0.0
        self.trial_logs = TrialLogs(self, self.tracking, lambda: self.seconds)

    def read(
        self,
        path: str,
        query: list[tuple[str, str]] | None = None,
        headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> bytes:
        found = self.logs[path.split("/")[-2], dict(query or [])["container"]]
        if isinstance(found, ApiError):
            raise found
        return found.encode()

    def pod(self, name: str, created: str, job: str = "churn-0", **states: Json) -> None:
        """Make a pod whose init containers are those that are called init_…"""
        labels = {"batch.kubernetes.io/job-name": job}
        names = {"initContainer": [], "container": []}  # type: dict[str, list[str]]
        for container in states:
            names["initContainer" if container.startswith("init_") else "container"].append(container)
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "ml", "labels": labels},
            "spec": {f"{kind}s": [{"name": each} for each in found] for kind, found in names.items()},
            "status": {
                f"{kind}Statuses": [{"name": each, "state": states[each]} for each in found if states[each]]
                for kind, found in names.items()
            },
        }
        self.now = datetime.fromisoformat(created)
        self.replace_status(PODS, {**self.create(PODS, "ml", body, "kubelet"), "status": body["status"]}, "kubelet")

    def keep(self) -> str | None:
        self.trial_logs.keep("ml", "churn-0", self.run)
        kept = self.tracking.artifacts.get(self.run.run_id, {}).get(LOG_ARTIFACT)
        return None if kept is None else kept.decode()


@pytest.fixture
def world() -> World:
    return World()


def test_all_containers_of_the_newest_pod_are_kept_with_how_they_ended(world: World) -> None:
    world.pod("new", "2026-05-01T12:01:00Z", init_project=DONE, init_forward={"running": {}}, trial=ENDED)
    world.pod("old", "2026-05-01T12:00:00Z", trial=ENDED)
    world.pod("other", "2026-05-01T12:02:00Z", job="churn-1", trial=ENDED)
    world.logs = {
        ("new", "init_project"): "fetched 3 files\n",
        ("new", "init_forward"): "listening",
        ("new", "trial"): "epoch 1\nValueError: no\n\n",
    }
    kept = world.keep()
    assert kept == (
        "==> init_project (exit code 0, Completed) <==\nfetched 3 files\n\n"
        "==> init_forward <==\nlistening\n\n"
        "==> trial (exit code 1, Error) <==\nepoch 1\nValueError: no\n"
    )
    assert world.keep() == kept


def test_what_did_not_start_and_what_said_nothing_is_left_out(world: World) -> None:
    world.pod("p", "2026-05-01T12:00:00Z", init_project=ENDED, init_later={}, trial=WAITING, silent=ENDED)
    world.logs = {("p", "init_project"): "no such commit", ("p", "silent"): "\n"}
    assert world.keep() == "==> init_project (exit code 1, Error) <==\nno such commit\n"


def test_of_a_long_log_the_last_bytes_are_kept_and_the_cut_is_told(world: World) -> None:
    world.pod("p", "2026-05-01T12:00:00Z", trial=ENDED)
    world.logs = {("p", "trial"): "ü" * BYTES + "ValueError: no"}
    kept = world.keep()
    assert kept is not None
    header, cut, text = kept.splitlines()
    assert header == "==> trial (exit code 1, Error) <=="
    assert cut == f"… {BYTES + 14} bytes before this are left out"
    assert text.endswith("üValueError: no")
    assert len(text.encode()) <= BYTES


def test_where_there_is_no_pod_or_no_log_any_more_what_was_kept_stays(world: World) -> None:
    assert world.keep() is None
    assert world.tracking.writes == ["runs/create"]
    world.pod("p", "2026-05-01T12:00:00Z", trial=ENDED)
    world.logs = {("p", "trial"): "ValueError: no"}
    kept = world.keep()
    world.logs = {("p", "trial"): ApiError(400, "BadRequest", "waiting")}
    assert world.keep() == kept
    world.delete(PODS, "ml", "p")
    assert world.keep() == kept


def test_a_log_that_may_not_be_read_is_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.pod("p", "2026-05-01T12:00:00Z", trial=ENDED)
    world.logs = {("p", "trial"): ApiError(403, "Forbidden", "pods/log is forbidden")}
    with caplog.at_level(logging.WARNING):
        assert world.keep() is None
    assert "the log of job ml/churn-0 cannot be read: pods/log is forbidden" in caplog.text


def test_artifacts_that_are_not_served_are_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.pod("p", "2026-05-01T12:00:00Z", trial=ENDED)
    world.logs = {("p", "trial"): "ValueError: no"}
    world.run = Run("abc", "trial", artifact_uri="s3://elsewhere/abc")
    with caplog.at_level(logging.WARNING):
        assert world.keep() is None
    assert "'s3://elsewhere/abc', which the tracking server's artifact proxy does not serve" in caplog.text


@pytest.mark.parametrize("error", [TrackingUnreachable("500", "S3 is down"), ApiError(0, "Unreachable", "no route")])
def test_what_may_be_better_soon_is_raised_so_that_it_is_tried_again(world: World, error: Exception) -> None:
    world.pod("p", "2026-05-01T12:00:00Z", trial=ENDED)
    world.logs = {("p", "trial"): error if isinstance(error, ApiError) else "ValueError: no"}

    def fail(method: str, what: str) -> None:
        if isinstance(error, TrackingError):
            raise error

    world.tracking._on_request = fail
    with pytest.raises(type(error)):
        world.keep()


def test_a_store_that_fails_for_good_holds_a_failure_up_for_minutes_and_no_longer(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.pod("p", "2026-05-01T12:00:00Z", trial=ENDED)
    world.logs = {("p", "trial"): "ValueError: no"}

    def fail(method: str, what: str) -> None:
        raise TrackingUnreachable("500", "the bucket is full")

    world.tracking._on_request = fail
    for seconds in (0, 15, 299):
        world.seconds = seconds
        with pytest.raises(TrackingUnreachable):
            world.keep()
    world.seconds = 300
    with caplog.at_level(logging.WARNING):
        assert world.keep() is None
    assert "the log of job ml/churn-0 is not kept: the bucket is full" in caplog.text
