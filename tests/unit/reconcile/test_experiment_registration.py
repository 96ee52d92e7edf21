"""The model of an Experiment's best run becomes a version, once, and says where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import Dataset, RegisteredVersion
from modelyard.api.reasons import Reason
from modelyard.decide.experiment_model import Problem, Run
from modelyard.reconcile.experiment_registration import Registrar
from modelyard.records.state import VersionState
from modelyard.registry.registry import Registry
from modelyard.tracking.client import LoggedModel, TrackingUnreachable
from tests.fakes import artifacts
from tests.fakes.cluster import FakeClient
from tests.fakes.tracking import FakeTracking

DESTINATION = artifacts.SETTINGS.artifacts_destination
EXPERIMENT = Experiment.parse(
    {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "wine", "namespace": "ml", "uid": "u"},
        "spec": {"objective": {"metric": "f1"}, "register": {"model": "Wine Model", "artifactPath": "forest"}},
    }
)


class World:
    def __init__(self, bucket: artifacts.Bucket) -> None:
        self.bucket = bucket
        self.requests: list[str] = []
        self.tracking = FakeTracking(lambda _, what: self.requests.append(what))
        self.registry = Registry(FakeClient(), bucket.store(), lambda: datetime(2026, 5, 1, tzinfo=UTC))
        self.registrar = Registrar(self.tracking, self.registry, DESTINATION)

    def run(self, name: str, parent: Run | None = None, tags: Mapping[str, str] | None = None) -> Run:
        above = {"mlflow.parentRunId": parent.run_id} if parent else {}
        return self.tracking.create_run("1", name, {**above, **(tags or {})}, 1)

    def version(self, number: int = 1) -> VersionState:
        found = self.registry.read("ml", "Wine Model")[1].find(number)
        assert found is not None
        return found


@pytest.fixture
def world() -> Iterator[World]:
    with artifacts.bucket() as bucket:
        yield World(bucket)


def test_the_logged_model_of_that_name_is_registered_once_with_its_lineage(world: World) -> None:
    parent = world.run("wine-1", tags={"mlflow.source.git.commit": "c" * 40, "modelyard.dev/image": "training:1"})
    trial = world.run("depth=3", parent)
    world.tracking.change(trial.run_id, parameters={"depth": "3"}, datasets=(Dataset(name="wine", digest="d1"),))
    made = world.run("forest", world.tracking.runs[trial.run_id])
    world.bucket.put_model("1/models/m-1/artifacts")
    world.tracking.models[made.run_id] = [
        LoggedModel(f"m-{number}", name, f"mlflow-artifacts:/1/models/m-{number}/artifacts")
        for number, name in enumerate(("other", "forest"))
    ]
    for _ in range(2):
        done = world.registrar(EXPERIMENT, made)
        assert done == RegisteredVersion(model="Wine Model", version=1, run_id=made.run_id)
    version = world.version()
    assert (version.run_id, version.model_id, version.source) == (made.run_id, "m-1", "models:/m-1")
    assert version.tags == {
        "modelyard.dev/experiment": "ml/wine",
        "modelyard.dev/run-name": "forest",
        "modelyard.dev/parent-run": trial.run_id,
        "modelyard.dev/commit": "c" * 40,
        "modelyard.dev/image": "training:1",
        "modelyard.dev/parameters": '{"depth": "3"}',
        "modelyard.dev/datasets": '[{"name": "wine", "digest": "d1"}]',
    }
    assert world.registry.read("ml", "Wine Model")[1].latest_version == 1


def test_a_directory_among_the_runs_artifacts_is_registered_where_no_model_was_logged(world: World) -> None:
    run = world.run("a")
    world.bucket.put_model(f"1/{run.run_id}/artifacts/forest")
    assert world.registrar(EXPERIMENT, run) == RegisteredVersion(model="Wine Model", version=1, run_id=run.run_id)
    assert world.version().artifact == f"{DESTINATION}/1/{run.run_id}/artifacts/forest"


def test_parents_that_are_gone_or_go_round_in_a_circle_end_the_search(world: World) -> None:
    orphan = world.run("orphan", Run("gone"))
    world.tracking.change(orphan.run_id, tags={"mlflow.parentRunId": orphan.run_id})
    for run in (world.run("of a gone one", Run("gone")), world.tracking.runs[orphan.run_id]):
        world.bucket.put_model(f"1/{run.run_id}/artifacts/forest")
        world.requests.clear()
        assert isinstance(world.registrar(EXPERIMENT, run), RegisteredVersion)
        assert len(world.requests) < 10


def test_a_run_without_the_model_is_a_problem_for_a_person(world: World) -> None:
    problem = world.registrar(EXPERIMENT, world.run("a"))
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.transient) == (Reason.REGISTRATION_FAILED, False)
    assert problem.message.startswith("run a has no model 'forest': ")


def test_a_source_outside_of_s3_is_a_problem_in_words(world: World) -> None:
    run = world.run("a")
    world.tracking.change(run.run_id, artifact_uri="file:///mlruns/1/a/artifacts")
    problem = world.registrar(EXPERIMENT, world.tracking.runs[run.run_id])
    assert isinstance(problem, Problem)
    assert "a model version cannot be registered from 'file:///mlruns" in problem.message


def test_an_unreachable_tracking_server_is_raised(world: World) -> None:
    run = world.run("a")

    def fail(method: str, what: str) -> None:
        raise TrackingUnreachable("500", "down")

    world.tracking._on_request = fail
    with pytest.raises(TrackingUnreachable):
        world.registrar(EXPERIMENT, run)
