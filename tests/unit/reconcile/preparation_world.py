"""A model whose versions are prepared before they are served: Jobs, uploads and records, in memory."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from dataclasses import replace
from typing import Any

from modelyard.api.model_status import StageStatus, VersionStatus
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cluster.resources import JOBS, SECRETS
from modelyard.desired.preparation import SECRET
from modelyard.reconcile.deployment_analysis import DeploymentAnalysis
from modelyard.reconcile.modeldeployment import ModelDeploymentReconciler
from modelyard.reconcile.preparation import Preparations
from modelyard.records.events import StagesChanged
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Candidate, Registry
from modelyard.settings import PreparationSettings
from tests.fakes import artifacts
from tests.unit.reconcile import deployment_world
from tests.unit.reconcile.deployment_world import MODELS, NAME, NAMESPACE, Json

ONNX, ARCHIVE = b"onnx", b"archive"
URI = "s3://models/team"


class World(deployment_world.World):
    """One version is registered, and not promoted."""

    def __init__(self, bucket: artifacts.Bucket, rest: Json | None = None) -> None:
        super().__init__(rest or {"replicas": 2})
        self.bucket = bucket
        self.store = bucket.store(self._on_write)
        self.settings = replace(
            self.settings,
            artifact_store=artifacts.SETTINGS.artifact_store,
            preparation=PreparationSettings(wait_seconds=300),
        )
        self.client.delete(MODELS, NAMESPACE, "churn")
        self.registry = self.new_registry()
        self.registry.ensure_model(NAMESPACE, "churn", "kubectl")
        self.register(1)
        self.bucket.requests.clear()

    def _on_write(self, key: str) -> None:
        if self._reconciling:
            self.before_write("PUT", key)

    def new_registry(self) -> Registry:
        return Registry(self.client, self.store, lambda: self.now)

    def register(self, number: int) -> None:
        uri = self.bucket.put_model(f"m{number}", f"weights {number}".encode())
        self.registry.register_version(NAMESPACE, "churn", Candidate("runs:/r/model", uri, "mlflow"))

    @property
    def model(self) -> RegisteredModel:
        return RegisteredModel.parse(self.client.get(REGISTERED_MODELS, NAMESPACE, "churn"))

    def registered(self, number: int) -> VersionStatus:
        found = self.model.status.find(number)
        assert found is not None
        return found

    def promote(self, version: int) -> None:
        held = StageStatus(version=version, since="2026-01-01T00:00:00Z", by="x")
        state = self.registry.ledger(NAMESPACE, "churn").refresh()
        self.registry.record(self.model, state, StagesChanged(by="x", stages={"production": held}, moves=()))
        self.registry.show(NAMESPACE, "churn")

    def reconcile(self) -> float | None:
        """Reconcile once, in a new process."""
        registry = self.new_registry()
        reconciler = ModelDeploymentReconciler(
            self.client,
            self.settings,
            lambda: self.now,
            registry.state_of,
            DeploymentAnalysis(self.client, self.measured),
            preparations=(
                Preparations(self.client, self.store, registry, self.settings, lambda: self.now)
                if self.settings.preparation
                else None
            ),
        )
        self._reconciling = True
        try:
            return reconciler(NAMESPACE, NAME).requeue_after
        finally:
            self._reconciling = False

    # Jobs

    @property
    def jobs(self) -> list[Json]:
        return self.client.list_all(JOBS, NAMESPACE)

    def job(self, version: int) -> Json:
        (found,) = [
            job for job in self.jobs if job["metadata"]["labels"]["modelyard.dev/model-version"] == str(version)
        ]
        return found

    def directory(self, version: int) -> str:
        """The key below which the Job of a version writes, from the URLs that it has."""
        job = self.job(version)
        secret = self.client.get(SECRETS, NAMESPACE, SECRET)
        url = b64decode(secret["data"][f"{job['metadata']['name']}.evidence"]).decode()
        return url.partition("?")[0].partition("/team/")[2].removesuffix("/preparation.json")

    def upload(self, version: int, **changed: Any) -> None:
        """Do what the Job does: `changed` goes over the evidence's parts."""
        below = f"{URI}/{self.directory(version)}"
        model = {"sha256": hashlib.sha256(ONNX).hexdigest(), "bytes": len(ONNX)}
        evidence = {
            "schemaVersion": 1,
            "digest": self.registered(version).digest,
            "python": "3.12.8",
            "image": "serving:1",
            "environment": {"needed": False, "differences": [], "archive": None, "error": None},
            "acceleration": {"outcome": "Verified", "message": "", "model": model, "evidence": {}},
            **changed,
        }
        self.bucket.put(f"{below}/model.onnx", ONNX)
        self.bucket.put(f"{below}/environment.tar.gz", ARCHIVE)
        self.bucket.put(f"{below}/preparation.json", json.dumps(evidence).encode())

    def end(self, version: int, *, failed: str = "") -> None:
        """Have the Job of a version end."""
        job = self.job(version)
        at = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"type": "Failed" if failed else "Complete", "status": "True", "lastTransitionTime": at}
        if failed:
            condition |= {"reason": failed, "message": "Job was active longer than specified deadline"}
        self.client.replace_status(JOBS, {**job, "status": {"startTime": at, "conditions": [condition]}}, "kubelet")

    def prepare(self, version: int, **changed: Any) -> None:
        """Have the Job of a version upload what it found, and end well."""
        self.upload(version, **changed)
        self.end(version)

    def environment(self, version: int) -> dict[str, str]:
        """The variables of a version's pods."""
        body = next(body for found, body in self.deployments() if found == version)
        (container,) = body["spec"]["template"]["spec"]["containers"]
        return {each["name"]: each["value"] for each in container["env"]}

    def accelerated(self) -> tuple[str, str]:
        found = self.condition("Accelerated")
        return found["status"], found["reason"]

    @property
    def secret_keys(self) -> set[str]:
        found = self.client.find(SECRETS, NAMESPACE, SECRET)
        return set((found or {}).get("data", {}))
