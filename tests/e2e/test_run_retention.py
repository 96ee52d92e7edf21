"""Retention of an Experiment's runs on the stock MLflow client and server, a real API server and a real MinIO."""

# mypy: allow-untyped-calls

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.dummy import DummyRegressor

from modelyard.api.experiment import Experiment
from modelyard.decide.experiment_model import EXPERIMENT_TAG, LOG_ARTIFACT
from modelyard.decide.run_retention import ARTIFACTS_TAG, PARENT_TAG
from modelyard.reconcile.run_retention import RunRetention
from modelyard.tracking.client import TrackingClient
from tests.e2e.api_server import NAMESPACE
from tests.e2e.registry_fixtures import (
    Cluster,
    Operator,
    api_server,
    minio,
    operator,
    own_cluster,
    tracking_uri,
)

__all__ = ["api_server", "minio", "operator", "own_cluster", "tracking_uri"]

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


@dataclass
class World:
    """An Experiment's runs in MLflow, and the operator's part."""

    cluster: Cluster
    stock: MlflowClient
    tracking: TrackingClient
    experiment_id: str
    retention: RunRetention

    def run(self, name: str, *, parent: str = "", model: bool = False, **metrics: float) -> str:
        """Log a run as a trial's program does."""
        tags = {EXPERIMENT_TAG: f"{NAMESPACE}/churn", **({PARENT_TAG: parent} if parent else {})}
        with mlflow.start_run(run_name=name, experiment_id=self.experiment_id, tags=tags) as run:
            mlflow.log_metrics(metrics)
            mlflow.log_text("hello", "notes/hello.txt")
            if model:
                dummy = DummyRegressor(strategy="constant", constant=42.0).fit(np.array([[0.0]]), [42.0])
                mlflow.sklearn.log_model(dummy, name="model", serialization_format="cloudpickle", pip_requirements=[])
        return str(run.info.run_id)

    def experiment(self, retention: dict[str, Any]) -> Experiment:
        return Experiment.parse(
            {
                "apiVersion": "modelyard.dev/v1alpha1",
                "kind": "Experiment",
                "metadata": {"name": "churn", "namespace": NAMESPACE, "uid": "u"},
                "spec": {
                    "project": {"configMap": {"name": "files"}},
                    "objective": {"metric": "f1"},
                    "retention": retention,
                },
                "status": {"experimentId": self.experiment_id},
            }
        )

    def objects(self, what: str) -> int:
        """How many objects the artifact store has for a run or a logged model."""
        return sum(what in key for key in self.cluster.store.keys("artifacts/"))

    @property
    def names(self) -> set[str]:
        return {run.info.run_name for run in self.stock.search_runs([self.experiment_id])}


@pytest.fixture
def world(own_cluster: Cluster, tracking_uri: str) -> Iterator[World]:
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    stock, tracking = MlflowClient(), TrackingClient(tracking_uri)
    experiment_id = stock.create_experiment(f"churn-{uuid.uuid4().hex[:8]}")
    retention = RunRetention(tracking, own_cluster.client, own_cluster.registry, own_cluster.store)
    yield World(own_cluster, stock, tracking, experiment_id, retention)
    tracking.close()


def test_what_is_not_kept_goes_and_a_registered_model_still_loads(world: World, operator: Operator) -> None:
    parent = world.run("parent")
    registered = world.run("registered", parent=parent, model=True, f1=0.1)
    gone = world.run("gone", parent=parent, model=True, f1=0.2)
    best = world.run("best", f1=0.9)
    (model,) = world.tracking.logged_models(gone)
    name = f"churn-{uuid.uuid4().hex[:8]}"
    mlflow.register_model(f"runs:/{registered}/model", name)
    assert world.objects(model.model_id)

    told = world.retention.apply(world.experiment({"maxRuns": 0}), datetime.now(UTC))

    assert told is not None
    assert told.message == "Deleted 1 run (1 because it is not among the newest 0: gone)."
    assert world.names == {"parent", "registered", "best"}
    assert [world.objects(each) for each in (gone, model.model_id)] == [0, 0]
    assert all(world.objects(each) for each in (parent, registered, best))
    assert mlflow.sklearn.load_model(f"models:/{name}/1").predict([[1.0]]) == [42.0]


def test_artifacts_alone_go_and_the_figures_stay(world: World) -> None:
    old, new = world.run("old", f1=0.5), world.run("new", f1=0.4)
    world.tracking.put_artifact(world.tracking.search_runs(world.experiment_id, {})[0], LOG_ARTIFACT, b"lines")
    experiment = world.experiment({"keepBest": 0, "artifacts": {"maxRuns": 1}})
    told = world.retention.apply(experiment, datetime.now(UTC))
    assert told is not None
    assert told.artifacts == 1
    assert (world.objects(old), world.objects(new)) == (0, 1)
    run = world.stock.get_run(old)
    assert run.data.metrics == {"f1": 0.5}
    assert run.data.tags[ARTIFACTS_TAG].endswith("because it is not among the newest 1")
    assert world.stock.list_artifacts(old) == []
    assert world.retention.apply(experiment, datetime.now(UTC) + timedelta(hours=1)) is None


def test_hundreds_of_runs_go_in_bounded_steps(world: World) -> None:
    for number in range(120):
        tags = {EXPERIMENT_TAG: f"{NAMESPACE}/churn"}
        run = world.stock.create_run(world.experiment_id, start_time=number + 1, run_name=str(number), tags=tags)
        world.stock.set_terminated(run.info.run_id, end_time=number + 2)
    experiment, now = world.experiment({"maxRuns": 100}), datetime.now(UTC)
    began = time.monotonic()
    told = world.retention.apply(experiment, now)
    print(f"deleted {told.runs if told else 0} runs in {time.monotonic() - began:.1f} s")
    assert told is not None
    assert told.runs == 20
    assert world.names == {str(number) for number in range(20, 120)}
