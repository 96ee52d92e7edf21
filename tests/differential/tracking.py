"""A tracking store with a run and a logged model, which both registries look into."""

# mypy: allow-untyped-calls

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from tests.differential.operations import Environment


@contextmanager
def tracking(directory: Path, artifacts: str) -> Iterator[tuple[Path, Environment]]:
    """Make the store's database (which has the registry's tables, too), and let MLflow use it meanwhile."""
    path = directory / "tracking.db"
    uri = f"sqlite:///{path}"
    store = SqlAlchemyStore(uri, artifacts)
    experiment = store.create_experiment("differential", artifact_location=f"{artifacts}/1")
    run = store.create_run(experiment, "user", int(time.time() * 1000), [], "run")
    model = store.create_logged_model(experiment, name="model", source_run_id=run.info.run_id)
    store.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    store.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield path, Environment(run.info.run_id, model.model_id, artifacts)
    finally:
        mlflow.set_tracking_uri(before)
        store._dispose_engine()
