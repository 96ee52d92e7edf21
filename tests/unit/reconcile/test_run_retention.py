"""Retention on a tracking server, an API server and a bucket in memory, and a kill at every write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import CleanUpStatus
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import of_kind
from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, LOG_ARTIFACT, Run, RunStatus
from modelyard.decide.run_retention import ARTIFACTS_TAG, PARENT_TAG
from modelyard.reconcile import run_retention
from modelyard.reconcile.run_retention import RunRetention
from modelyard.registry.lifecycle import Lifecycle
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Candidate, Registry
from modelyard.tracking.client import LoggedModel, TrackingError, TrackingUnreachable
from tests.fakes import artifacts
from tests.fakes.cluster import FakeClient
from tests.fakes.tracking import FakeTracking

Json = dict[str, Any]
START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """The operator's process ends here."""


class World:
    """An Experiment whose runs ended long ago, one an hour; `kill_at` ends the operator at its n-th write from now."""

    def __init__(self, bucket: artifacts.Bucket) -> None:
        self.now = START
        self.bucket = bucket
        self.status = CleanUpStatus()
        self.kill_at: int | None = None
        self.writes = 0
        self.operating = False
        self.requests: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.client = FakeClient(self._on_request, lambda: self.now)
        self.tracking = FakeTracking(self._on_request)
        self.made = 0
        self.spec: dict[str, Any] = {}
        self.generation = 1
        self.restart()

    def restart(self) -> None:
        """The operator, just started."""
        self.kill_at, self.writes = None, 0
        self.registry = Registry(self.client, self.bucket.store(), lambda: self.now)
        self.retention = RunRetention(self.tracking, self.client, self.registry, self.bucket.store())

    def _on_request(self, method: str, what: str) -> None:
        if not self.operating:
            return
        self.requests.append(f"{method} {what}")
        if what in self.fail:
            raise self.fail[what]
        if method != "GET":
            self.writes += 1
            if self.writes == self.kill_at:
                raise Killed

    def run(self, name: str, *, parent: Run | None = None, execution: str = "old", **metrics: float) -> Run:
        tags = {EXPERIMENT_TAG: "ml/churn", EXECUTION_TAG: execution}
        if parent:
            tags[PARENT_TAG] = parent.run_id
        at = int((START - timedelta(days=30) + timedelta(hours=self.made)).timestamp() * 1000)
        self.made += 1
        run = self.tracking.create_run("1", name, tags, at)
        self.tracking.put_artifact(run, LOG_ARTIFACT, b"log")
        self.tracking.end_run(run.run_id, RunStatus.FINISHED, at + 1000)
        self.tracking.change(run.run_id, metrics=metrics)
        return self.tracking.runs[run.run_id]

    def experiment(self, **retention: Any) -> Experiment:
        if retention != self.spec:
            self.spec, self.generation = retention, self.generation + 1
        return Experiment.parse(
            {
                "apiVersion": "modelyard.dev/v1alpha1",
                "kind": "Experiment",
                "metadata": {"name": "churn", "namespace": "ml", "uid": "u", "generation": self.generation},
                "spec": {
                    "project": {"configMap": {"name": "files"}},
                    "objective": {"metric": "f1"},
                    **({"retention": retention} if retention else {}),
                },
                "status": {"experimentId": "1", "execution": "present", "cleanUp": self.status.to_dict()},
            }
        )

    def apply(self, **retention: Any) -> CleanUpStatus | None:
        """One step; what it tells becomes the status."""
        self.operating = True
        try:
            told = self.retention.apply(self.experiment(**retention), self.now)
        finally:
            self.operating = False
        self.status = told or self.status
        return told

    def settle(self, **retention: Any) -> None:
        """Steps until nothing is left, as the reconciler takes them."""
        for _ in range(20):
            self.apply(**retention)
            again = self.retention.again_after(self.experiment(**retention), self.now)
            if again is None or again > 1:
                return
        pytest.fail("retention does not come to rest")

    @property
    def names(self) -> list[str]:
        return [run.name for run in self.tracking.runs.values()]

    def version(self, model: str, run: Run | None, place: str = "x", namespace: str = "other") -> None:
        """Register a version in another namespace."""
        self.registry.ensure_model(namespace, model, "kubectl")
        uri = self.bucket.put_model(place)
        candidate = Candidate(source=uri, artifact=uri, created_by="x", run_id=run.run_id if run else None)
        self.registry.register_version(namespace, model, candidate)


@pytest.fixture
def world() -> Iterator[World]:
    with artifacts.bucket() as bucket:
        yield World(bucket)


def test_runs_go_with_their_artifacts_and_it_is_told(world: World) -> None:
    for name in "abcd":
        world.run(name)
    told = world.apply(maxRuns=2, keepBest=0)
    assert world.names == ["c", "d"]
    assert {world.tracking.runs[run_id].name for run_id in world.tracking.artifacts} == {"c", "d"}
    assert told == CleanUpStatus(
        last_at="2026-05-01T12:00:00Z",
        runs=2,
        message="Deleted 2 runs (2 because it is not among the newest 2: a, b).",
    )
    world.now += timedelta(hours=1)
    assert world.apply(maxRuns=2, keepBest=0) is None
    assert world.names == ["c", "d"]


def test_artifacts_go_once_and_the_run_says_so(world: World) -> None:
    runs = [world.run(name, f1=value) for name, value in (("a", 0.9), ("b", 0.5), ("c", 0.6))]
    world.tracking.models[runs[1].run_id] = [LoggedModel("m-1", "model", "mlflow-artifacts:/1/models/m-1/artifacts")]
    told = world.apply(artifacts={"maxRuns": 1})
    assert world.names == ["a", "b", "c"]
    assert set(world.tracking.artifacts) == {runs[0].run_id, runs[2].run_id}
    assert world.tracking.deleted_models == ["1/models/m-1/artifacts"]
    assert world.tracking.runs[runs[1].run_id].tags[ARTIFACTS_TAG] == (
        "deleted 2026-05-01T12:00:00Z, because it is not among the newest 1"
    )
    assert told is not None
    assert (told.runs, told.artifacts) == (0, 1)
    assert told.message == "Deleted the artifacts of 1 run (1 because it is not among the newest 1: b)."
    world.now += timedelta(hours=1)
    writes = len(world.tracking.writes)
    assert world.apply(artifacts={"maxRuns": 1}) is None
    assert len(world.tracking.writes) == writes


def test_much_goes_in_steps_and_is_added_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_retention, "AT_ONCE", 3)
    for number in range(8):
        world.run(str(number))
    told = world.apply(maxRuns=1, keepBest=0)
    assert told is not None
    assert told.message.endswith("0, 1, 2). 4 more will go.")
    assert len(world.names) == 5
    world.settle(maxRuns=1, keepBest=0)
    assert (world.names, world.status.runs) == (["7"], 7)


def test_nothing_is_asked_where_nothing_is_retained_and_little_where_nothing_has_changed(world: World) -> None:
    world.run("a")
    assert world.apply() is None
    assert world.requests == []
    assert world.retention.again_after(world.experiment(), world.now) is None
    for _ in range(3):
        assert world.apply(maxRuns=5) is None
        world.now += timedelta(minutes=1)
    assert world.requests == ["GET runs/search"]
    assert world.retention.again_after(world.experiment(maxRuns=5), world.now) == 7 * 60
    world.now += timedelta(minutes=7)
    world.apply(maxRuns=5)
    assert world.requests == ["GET runs/search"] * 2


@pytest.mark.parametrize("namespace", ["ml", "other"])
def test_the_run_of_a_registered_version_stays_with_its_parent(world: World, namespace: str) -> None:
    parent = world.run("parent")
    kept, _ = world.run("kept", parent=parent), world.run("sibling", parent=parent)
    nested = world.run("nested", parent=kept)
    world.run("lone")
    world.version("wine", nested, namespace=namespace)
    world.settle(maxRuns=0, keepBest=0, artifacts={"maxRuns": 0})
    assert world.names == ["parent", "kept", "nested"]
    assert len(world.tracking.artifacts) == 3


def test_a_version_from_a_runs_directory_or_from_its_logged_model_protects_it(world: World) -> None:
    by_directory, by_model, other = world.run("directory"), world.run("model"), world.run("other")
    world.version("a", None, f"1/{by_directory.run_id}/artifacts/model")
    world.version("b", None, "1/models/m-7/artifacts")
    for number, run in ((7, by_model), (8, other)):
        place = f"mlflow-artifacts:/1/models/m-{number}/artifacts"
        world.tracking.models[run.run_id] = [LoggedModel(f"m-{number}", "model", place)]
    world.settle(maxRuns=0, keepBest=0)
    assert world.names == ["directory", "model"]


def test_a_version_that_only_the_servers_own_registry_knows_protects_its_run_and_those_above(world: World) -> None:
    parent = world.run("parent")
    child = world.run("child", parent=parent)
    world.run("other")
    world.tracking.registered = {child.run_id: "version 1 of elsewhere"}
    world.settle(maxRuns=0, keepBest=0)
    assert world.names == ["parent", "child"]


def test_a_model_whose_object_is_lost_still_protects_and_one_that_was_deleted_does_not(world: World) -> None:
    lost, deleted = world.run("lost"), world.run("deleted")
    for name, run in (("lost", lost), ("deleted", deleted)):
        world.version(name, run)
    Lifecycle(world.registry, lambda: world.now).delete("other", "deleted", "mlflow")
    world.client.delete(REGISTERED_MODELS, "other", "lost")
    world.settle(maxRuns=0, keepBest=0)
    assert world.names == ["lost"]


def test_a_run_that_another_experiment_runs_again_stays(world: World) -> None:
    world.run("a")
    run = world.run("original")
    original = "a" * 32
    world.tracking.runs[original] = replace(world.tracking.runs.pop(run.run_id), run_id=original)
    again = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "again", "namespace": "other"},
        "spec": {"project": {"run": {"id": original}}},
    }
    world.client.create(of_kind(Experiment), "other", again, "kubectl")
    world.settle(maxRuns=0, keepBest=0)
    assert world.names == ["original"]


def test_what_runs_and_the_present_execution_stay(world: World) -> None:
    world.run("mine", execution="present")
    active = world.run("active")
    world.tracking.change(active.run_id, status=RunStatus.RUNNING)
    world.run("old")
    world.tracking.create_run("1", "another's", {EXPERIMENT_TAG: "ml/other"}, 1)
    world.settle(maxRuns=0, keepBest=0)
    assert world.names == ["mine", "active", "another's"]


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("runs/search", TrackingUnreachable("500", "down"), "down"),
        ("model-versions/search", TrackingError("403", "no registry"), "no registry"),
        (REGISTERED_MODELS.path(None), ApiError(403, "Forbidden", "may not list"), "may not list"),
        (of_kind(Experiment).path(None), ApiError(403, "Forbidden", "may not list"), "may not list"),
        (REGISTERED_MODELS.path(None), ApiError(0, "Unreachable", "no route"), "no route"),
    ],
)
def test_nothing_goes_while_somebody_cannot_be_asked_and_it_is_told(
    world: World, what: str, error: Exception, words: str
) -> None:
    world.run("a")
    world.fail = {what: error}
    told = world.apply(maxRuns=0, keepBest=0)
    assert world.names == ["a"]
    assert told == CleanUpStatus(message=f"Nothing was deleted. Tried again later: {words}")
    world.now += timedelta(hours=1)
    assert world.apply(maxRuns=0, keepBest=0) is None
    world.fail = {}
    world.now += timedelta(hours=1)
    told = world.apply(maxRuns=0, keepBest=0)
    assert told is not None
    assert (world.names, told.runs) == ([], 1)


def test_trouble_that_is_over_is_told_no_longer(world: World) -> None:
    world.run("a")
    world.fail = {"runs/search": TrackingUnreachable("500", "down")}
    world.apply(maxRuns=1)
    world.fail = {}
    world.now += timedelta(hours=1)
    assert world.apply(maxRuns=1) == CleanUpStatus(message="Nothing was deleted.")
    world.now += timedelta(hours=1)
    assert world.apply(maxRuns=1) is None


def test_records_that_cannot_be_read_protect_everything(world: World) -> None:
    run = world.run("a")
    world.version("wine", None)
    world.restart()
    for key in world.bucket.store().keys("registry/other/wine/log/"):
        world.bucket.store().put(key, b"altered")
    told = world.apply(maxRuns=0, keepBest=0)
    assert told is not None
    assert run.run_id in world.tracking.runs
    assert "Nothing was deleted. Tried again later:" in told.message


def test_artifacts_elsewhere_are_told_and_asked_for_once(world: World) -> None:
    runs = [world.run(name) for name in "ab"]
    for run in runs:
        world.tracking.change(run.run_id, artifact_uri=f"s3://own/{run.run_id}")
    told = world.apply(keepBest=0, artifacts={"maxRuns": 1})
    assert told is not None
    assert (
        told.artifacts,
        told.message.startswith("Nothing was deleted. Not deleted: the artifacts of run a are at"),
    ) == (0, True)
    assert world.tracking.runs[runs[0].run_id].tags[ARTIFACTS_TAG].startswith("kept: the artifacts of run a are at")
    world.settle(maxRuns=0, keepBest=0)
    assert world.names == []
    assert "Not deleted: the artifacts of run b are at 's3://own/" in world.status.message


def test_a_run_that_the_server_refuses_to_delete_does_not_stand_in_the_way(world: World) -> None:
    parent = world.run("parent")
    for name in ("refused", "child"):
        world.run(name, parent=parent)
    world.run("later")
    refused = next(run for run in world.tracking.runs.values() if run.name == "refused")
    delete = world.tracking.delete_run

    def refuse(run_id: str) -> None:
        if run_id == refused.run_id:
            raise TrackingError("PERMISSION_DENIED", "not yours")
        delete(run_id)

    world.tracking.delete_run = refuse  # type: ignore[method-assign]
    told = world.apply(maxRuns=0, keepBest=0)
    assert told is not None
    assert "Run refused stays: not yours." in told.message
    world.settle(maxRuns=0, keepBest=0)
    assert world.names == ["parent", "refused"]


def test_a_kill_at_any_write_loses_nothing_that_stays_and_leaves_nothing_that_goes() -> None:
    for kill_at in range(1, 40):
        with artifacts.bucket() as bucket:
            world = World(bucket)
            parent = world.run("parent")
            kept = world.run("registered", parent=parent)
            for name in ("a", "b"):
                world.run(name, parent=parent)
            world.run("bare", f1=0.1)
            world.run("best", f1=0.9)
            world.run("new", f1=0.5)
            world.version("wine", kept)
            world.kill_at = kill_at
            try:
                world.settle(maxRuns=3, artifacts={"maxRuns": 1})
            except Killed:
                assert {"registered", "parent", "best", "new"} <= set(world.names)
                world.restart()
                world.settle(maxRuns=3, artifacts={"maxRuns": 1})
            else:
                assert kill_at > 5
                return
            assert world.names == ["parent", "registered", "bare", "best", "new"]
            with_artifacts = {world.tracking.runs[run_id].name for run_id in world.tracking.artifacts}
            assert with_artifacts == {"parent", "registered", "best", "new"}
    pytest.fail("there is no end of writes")
