"""A cluster and a bucket in memory, with the registry and the reconciler on them, and faults to inject."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from modelyard.api.model_status import RegisteredModelStatus
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import ArtifactStore
from modelyard.reconcile.base import Outcome
from modelyard.reconcile.declared import DeclaredVersions
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.reconcile.retention import RetentionFollower
from modelyard.records.state import ModelState
from modelyard.registry.lifecycle import Lifecycle
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Candidate, Registry
from tests.fakes.artifacts import SETTINGS, Bucket
from tests.fakes.cluster import FakeClient

NAMESPACE = "ml"


class Crash(Exception):
    """The process ends here."""


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class World:
    """One namespace. `crash_at` ends whoever writes for the n-th time from now, to the cluster or the bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.clock = Clock()
        self.client = FakeClient(self._on_request, self.clock)
        self.store: ArtifactStore = bucket.store(self._on_write)
        self.registry = Registry(self.client, self.store, self.clock)
        self.follows = False
        self.reconciler = self.new_reconciler()
        self.crash_at: int | None = None
        self.crash_as: Callable[[str], Exception] = Crash
        self.on_put: Callable[[str], None] | None = None

    def new_reconciler(self) -> RegisteredModelReconciler:
        """The operator, just started."""
        followers = (
            DeclaredVersions(self.registry),
            RetentionFollower(self.client, self.store, self.registry, SETTINGS.artifacts_destination, self.clock),
        )
        return RegisteredModelReconciler(
            self.client,
            self.store,
            self.clock,
            registry=self.registry,
            followers=followers if self.follows else (),
        )

    def with_followers(self) -> None:
        """From now on the operator follows declared versions and retention, too."""
        self.follows = True
        self.restart()

    def new_registry(self) -> Registry:
        """The registry of another process."""
        return Registry(self.client, self.store, self.clock)

    def lifecycle(self) -> Lifecycle:
        return Lifecycle(self.registry, self.clock)

    def restart(self) -> None:
        self.crash_at = None
        self.registry = self.new_registry()
        self.reconciler = self.new_reconciler()

    def reconcile(self, name: str = "churn") -> Outcome:
        return self.reconciler(NAMESPACE, name)

    def create(self, name: str = "churn") -> None:
        self.registry.ensure_model(NAMESPACE, name, "kubectl-create")

    def register(self, name: str = "churn", source: str = "model", key: str | None = None) -> int:
        candidate = Candidate(source=f"runs:/r1/{source}", artifact=self.bucket.put_model(source), created_by="mlflow")
        if key:
            return self.registry.register_once(NAMESPACE, name, candidate, key).version
        return self.registry.register_version(NAMESPACE, name, candidate).version

    def edit(self, spec: dict[str, object], manager: str = "kubectl-edit", name: str = "churn") -> None:
        self.client.merge_patch(REGISTERED_MODELS, NAMESPACE, name, {"spec": spec}, manager)

    def model(self, name: str = "churn") -> RegisteredModel:
        return RegisteredModel.parse(self.client.get(REGISTERED_MODELS, NAMESPACE, name))

    def status(self, name: str = "churn") -> RegisteredModelStatus:
        return self.model(name).status

    def state(self, name: str = "churn") -> ModelState:
        return self.registry.read(NAMESPACE, name)[1]

    def log(self, kind: str, name: str = "churn") -> list[int]:
        """The sequences of the events of one type."""
        events = self.registry.ledger(NAMESPACE, name).events(0)
        return [sealed.event.sequence for sealed in events if sealed.event.type == kind]

    def stages(self) -> dict[str, int]:
        return {key: stage.version for key, stage in self.status().stages.items()}

    def labels(self) -> dict[int, str]:
        return {version.version: version.stage for version in self.status().versions}

    def ready(self) -> tuple[str, str, str]:
        (ready,) = [c for c in self.status().conditions if c.type == "Ready"]
        return ready.status, ready.reason, ready.message

    def _on_request(self, method: str, path: str) -> None:
        if method != "GET":
            self._count(path)

    def _on_write(self, key: str) -> None:
        self._count(key)
        if self.on_put:
            self.on_put(key)

    def _count(self, what: str) -> None:
        if self.crash_at is None:
            return
        self.crash_at -= 1
        if self.crash_at == 0:
            self.crash_at = None
            raise self.crash_as(what)
