"""A namespace with an Experiment, on an API server, a tracking server and a bucket in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExperimentStatus
from modelyard.api.project_files import Directory, GitFiles
from modelyard.cluster.resources import CONFIG_MAPS, JOBS, PODS, of_kind
from modelyard.decide.experiment_model import (
    TRIAL_TAG,
    Run,
    RunStatus,
)
from modelyard.decide.jobs import JOB_NAME_LABEL
from modelyard.reconcile.base import Outcome
from modelyard.reconcile.experiment_parts import experiment_reconciler
from modelyard.registry.registry import Registry
from modelyard.settings import Settings
from modelyard.sources.credentials import Credentials
from modelyard.sources.errors import SourceNotFound, SourceUnreachable
from modelyard.sources.git import Resolved
from modelyard.tracking.client import LoggedModel
from tests.fakes import artifacts
from tests.fakes.cluster import FakeClient
from tests.fakes.tracking import FakeTracking

Json = dict[str, Any]
NAMESPACE, NAME = "ml", "churn"
EXPERIMENTS = of_kind(Experiment)
SETTINGS = Settings.from_environment(
    {
        "MODELYARD_TRACKING_URI": "http://tracking:5000",
        "MODELYARD_ARTIFACT_STORE": artifacts.SETTINGS.artifact_store,
        "MODELYARD_SERVING_IMAGE": "serving:1",
        "MODELYARD_TRAINING_IMAGE": "training:1",
        "MODELYARD_OPERATOR_IMAGE": "operator:1",
        "MODELYARD_ENVIRONMENTS": "false",
    }
)
MLPROJECT = """
conda_env: conda.yaml
entry_points:
  train:
    parameters: {configuration: str, trees: {type: int, default: 10}}
    command: "python train.py {configuration} {trees}"
"""
FILES = {"MLproject": MLPROJECT, "train.py": "", "conda.yaml": ""}
SPEC: Json = {
    "tags": {"team": "churn"},
    "project": {"configMap": {"name": "files"}},
    "entryPoint": "train",
    "sweep": {"parameters": {"configuration": {"values": ["a", "b", "c"]}}, "parallelism": 2},
    "objective": {"metric": "f1"},
    "register": {"model": "churn", "when": [{"metric": "f1", "min": "0.5"}]},
}
COMMIT = "c" * 40
GIT = {**SPEC, "project": {"git": {"url": "https://git.example/churn.git", "revision": "main", "path": "sub"}}}


class Killed(BaseException):
    """The operator's process ends here."""


class FakeGit:
    def __init__(self) -> None:
        self.heads = {"main": COMMIT}
        self.down = False
        self.reads = 0

    def find(self, url: str, revision: str, credentials: Credentials | None = None) -> Resolved:  # noqa: ARG002
        if self.down:
            raise SourceUnreachable(f"{url}: connection refused")
        if revision not in self.heads:
            raise SourceNotFound(f"{url} has no branch or tag {revision!r}")
        return Resolved(self.heads[revision], revision)

    def directory(self, *_: GitFiles | Credentials | None) -> Directory:
        self.reads += 1
        return Directory(frozenset(FILES), {"MLproject": MLPROJECT})


class World:
    """One namespace with an Experiment; `kill_at` ends the operator at its n-th write from now."""

    def __init__(self, bucket: artifacts.Bucket, spec: Json = SPEC) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        self.kill_at: int | None = None
        self.writes: list[str] = []
        self.operating = False
        self.bucket = bucket
        self.client = FakeClient(self._on_request, lambda: self.now)
        self.tracking = FakeTracking(self._on_request)
        self.git = FakeGit()
        self.store = bucket.store(lambda key: self._on_request("PUT", key))
        self.registry = Registry(self.client, self.store, lambda: self.now)
        self.metrics: Callable[[str], dict[str, float]] = lambda name: {"f1": {"a": 0.7, "b": 0.9, "c": 0.8}[name]}
        self.client.create(
            CONFIG_MAPS, NAMESPACE, {"metadata": {"name": "files", "namespace": NAMESPACE}, "data": FILES}, "kubectl"
        )
        self.client.create(EXPERIMENTS, NAMESPACE, self.body(spec), "kubectl")
        self.restart()

    @staticmethod
    def body(spec: Json) -> Json:
        metadata = {"name": NAME, "namespace": NAMESPACE}
        return {"apiVersion": "modelyard.dev/v1alpha1", "kind": "Experiment", "metadata": metadata, "spec": spec}

    def restart(self) -> None:
        """The operator, just started."""
        self.kill_at, self.writes = None, []
        tracking = cast("Any", self.tracking)
        self.reconciler = experiment_reconciler(
            self.client, self.store, tracking, self.registry, SETTINGS, lambda: self.now, self.git
        )

    def _on_request(self, method: str, what: str) -> None:
        if method == "GET" or not self.operating:
            return
        self.writes.append(f"{method} {what}")
        if self.kill_at is not None and len(self.writes) == self.kill_at:
            raise Killed

    def reconcile(self) -> Outcome:
        self.now += timedelta(seconds=1)
        self.operating = True
        try:
            return self.reconciler(NAMESPACE, NAME)
        finally:
            self.operating = False

    def edit(self, spec: Json) -> None:
        self.client.apply(EXPERIMENTS, self.body(spec), "kubectl")

    @property
    def status(self) -> ExperimentStatus:
        return Experiment.parse(self.client.get(EXPERIMENTS, NAMESPACE, NAME)).status

    @property
    def condition(self) -> tuple[str, str, str]:
        first = self.status.conditions[0]
        return first.status, first.reason, first.message

    @property
    def jobs(self) -> list[Json]:
        return self.client.list_all(JOBS, NAMESPACE)

    def runs(self, trial: str) -> list[Run]:
        return [run for run in self.tracking.runs.values() if run.tags[TRIAL_TAG] == trial]

    @property
    def uids(self) -> set[str]:
        return {body["metadata"]["uid"] for body in self.jobs}

    def work(self, state: str = "Complete", *, quietly: bool = False) -> None:
        """Let every Job that is there run to its end; `quietly`: the entry point does not end its run."""
        for body in self.jobs:
            run_id = body["metadata"]["annotations"]["modelyard.dev/run-id"]
            run = self.tracking.runs[run_id]
            if run.ended or body.get("status"):
                continue
            status = run.status if quietly or state == "Failed" else RunStatus.FINISHED
            metrics = self.metrics(run.parameters["configuration"]) if state == "Complete" else {}
            self.tracking.change(run_id, status=status, metrics=metrics)
            self.put_model(run_id)
            if state == "Failed":
                pod = _failed_pod(body)
                made = self.client.create(PODS, NAMESPACE, pod, "kubelet")
                self.client.replace_status(PODS, {**made, "status": pod["status"]}, "kubelet")
            self.end(body, state)

    def put_model(self, run_id: str) -> None:
        """Log a model with a run."""
        location = self.bucket.put_model(f"1/models/m-{run_id}", run_id.encode())
        path = location.removeprefix(f"{SETTINGS.artifacts_destination}/")
        self.tracking.models[run_id] = [LoggedModel(f"m-{run_id}", "model", f"mlflow-artifacts:/{path}")]

    def end(self, job: Json, state: str, reason: str = "BackoffLimitExceeded") -> None:
        """Let a Job's controller say how it ended."""
        ended = {"conditions": [{"type": state, "status": "True", "reason": reason}]}
        self.client.replace_status(JOBS, {**job, "status": ended}, "kubelet")

    def annotate(self, **annotations: str) -> None:
        """Annotate the Experiment, under the group's prefix."""
        told = {f"modelyard.dev/{name}": value for name, value in annotations.items()}
        self.client.merge_patch(EXPERIMENTS, NAMESPACE, NAME, {"metadata": {"annotations": told}}, "kubectl")

    def run(self, **how: Any) -> None:
        """Reconcile and work in turns until the Experiment is done."""
        for _ in range(20):
            self.reconcile()
            if self.status.finished_at:
                return
            self.work(**how)
        pytest.fail(f"not done: {self.condition}")


def _failed_pod(job: Json) -> Json:
    name, labels = job["metadata"]["name"], job["spec"]["template"]["metadata"]["labels"]
    ended = {"exitCode": 1, "reason": "Error", "message": "ValueError: no such column"}
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {JOB_NAME_LABEL: name, **labels},
        },
        "spec": {"containers": [{"name": "trial"}]},
        "status": {"containerStatuses": [{"name": "trial", "state": {"terminated": ended}}]},
    }


@pytest.fixture
def bucket() -> Iterator[artifacts.Bucket]:
    with artifacts.bucket() as bucket:
        yield bucket


@pytest.fixture
def world(bucket: artifacts.Bucket) -> World:
    return World(bucket)
