"""A model whose stage has gates, on an API server, a bucket and a tracking server in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cluster.resources import (
    JOBS,
    PODS,
    of_kind,
)
from modelyard.decide.experiment_model import Run
from modelyard.decide.gates import Judgement
from modelyard.reconcile.gates import Gates
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.registry.registry import Candidate, Registry
from modelyard.settings import Settings
from tests.fakes import artifacts
from tests.fakes.cluster import FakeClient
from tests.fakes.tracking import FakeTracking

Json = dict[str, Any]
NAMESPACE, NAME = "ml", "churn"
POLICY = "modelyard-approvals.system"
SMOKE = {"name": "smoke", "job": {"command": ["python", "-c", "check()"], "timeoutSeconds": 60}}
QUALITY = {"name": "quality", "metric": "f1", "min": "0.8"}
APPROVAL = {"name": "approval", "approvers": ["risk"]}

SETTINGS = Settings.from_environment(
    {
        "MODELYARD_TRACKING_URI": "http://tracking:5000",
        "MODELYARD_ARTIFACT_STORE": artifacts.SETTINGS.artifact_store,
        "MODELYARD_READER_ACCESS_KEY_ID": "reader",
        "MODELYARD_READER_SECRET_ACCESS_KEY": "secret",
        "MODELYARD_SERVING_IMAGE": "serving:1",
        "MODELYARD_TRAINING_IMAGE": "training:1",
        "MODELYARD_OPERATOR_IMAGE": "operator:1",
        "MODELYARD_APPROVAL_POLICY": POLICY,
    }
)


class Killed(BaseException):
    """The operator's process ends here."""


class World:
    """A model with two versions, of which the first is in Production, and the operator that is started anew."""

    def __init__(self, bucket: artifacts.Bucket, gates: list[Json]) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        self.bucket = bucket
        self.client = FakeClient(self._on_request, lambda: self.now)
        self.tracking = FakeTracking()
        self.store = bucket.store(lambda _: self._write())
        self.left: int | None = None
        registry = Registry(self.client, self.store, lambda: self.now)
        registry.create_model(NAMESPACE, NAME, "kubectl")
        for number in (1, 2):
            self.tracking.runs[f"r{number}"] = Run(f"r{number}", metrics={"f1": {1: 0.81, 2: 0.82}[number]})
            artifact = bucket.put_model(f"v{number}", str(number).encode())
            registry.register_version(NAMESPACE, NAME, Candidate(artifact, artifact, "test", run_id=f"r{number}"))
        self.edit(stages={"production": 1})
        self.restart()
        self.reconcile()
        self.edit(gates={"production": gates})
        self.client.requests.clear()

    def restart(self) -> None:
        self.left = None
        self.registry = Registry(self.client, self.store, lambda: self.now)
        self.gates = Gates(
            self.client, self.store, self.tracking, self.registry.ledger, settings=SETTINGS, clock=lambda: self.now
        )
        self.reconciler = RegisteredModelReconciler(
            self.client, self.store, lambda: self.now, registry=self.registry, judge=self.gates
        )

    def _on_request(self, method: str, path: str) -> None:  # noqa: ARG002
        if method != "GET":
            self._write()

    def _write(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def edit(self, **spec: Any) -> None:
        self.client.merge_patch(of_kind(RegisteredModel), NAMESPACE, NAME, {"spec": spec}, "kubectl")

    def model(self) -> RegisteredModel:
        return RegisteredModel.parse(self.client.get(of_kind(RegisteredModel), NAMESPACE, NAME))

    def reconcile(self) -> RegisteredModel:
        self.reconciler(NAMESPACE, NAME)
        return self.model()

    def promote(self, version: int = 2) -> RegisteredModel:
        self.edit(stages={"production": version})
        return self.reconcile()

    def judge(self, version: int = 2) -> Judgement:
        """Judge without a reconcile."""
        model = self.model()
        state = self.registry.state_of(model)
        return self.gates.judge(model, state, state.versions[version], "production")

    def verdict(self, version: int = 2) -> tuple[str, str]:
        """Judge the one gate there is."""
        (result,) = self.judge(version).results
        return result.verdict.value, result.message

    def in_production(self) -> int:
        return self.model().status.stages["production"].version

    def jobs(self) -> list[Json]:
        return self.client.list_all(JOBS, NAMESPACE)

    def end(self, job: Json, *, passed: bool, log: bytes | None = b"all good\n", **pod: Any) -> None:
        """Let a Job end, with a pod that has that log."""
        name = job["metadata"]["name"]
        status: Json = {"startTime": "2026-05-01T12:00:00Z"}
        if passed:
            status |= {"completionTime": "2026-05-01T12:00:12Z", "conditions": [{"type": "Complete", "status": "True"}]}
        else:
            failed = {"type": "Failed", "status": "True", "lastTransitionTime": "2026-05-01T12:00:12Z"}
            status["conditions"] = [
                {**failed, "reason": "BackoffLimitExceeded", "message": "Job has reached the limit"}
            ]
        if log is not None:
            metadata = {"name": f"{name}-pod", "labels": {"batch.kubernetes.io/job-name": name}}
            self.client.create(PODS, NAMESPACE, {"metadata": metadata}, "job-controller")
            terminated = {"exitCode": 0 if passed else 1, "message": "Traceback\nAssertionError: f1 is 0.3"}
            pod_status = {"containerStatuses": [{"name": "validation", "state": {"terminated": terminated}}], **pod}
            body = self.client.get(PODS, NAMESPACE, f"{name}-pod")
            self.client.replace_status(PODS, {**body, "status": pod_status}, "kubelet")
            self.client.answers[PODS.path(NAMESPACE, f"{name}-pod", "log")] = log
        self.client.replace_status(JOBS, {**self.client.get(JOBS, NAMESPACE, name), "status": status}, "job-controller")

    def evidence(self) -> dict[str, bytes]:
        prefix = f"registry/{NAMESPACE}/{NAME}/evidence/"
        return {key.removeprefix(prefix): self.store.get(key).data for key in self.store.keys(prefix)}

    def events(self, kind: str) -> int:
        return sum(sealed.event.type == kind for sealed in self.registry.ledger(NAMESPACE, NAME).events(0))


@pytest.fixture
def gates() -> list[Json]:
    return [SMOKE]


@pytest.fixture
def world(gates: list[Json]) -> Iterator[World]:
    with artifacts.bucket() as bucket:
        yield World(bucket, gates)
