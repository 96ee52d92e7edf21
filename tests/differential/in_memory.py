"""Modelyard's registry on a cluster and a bucket in memory, beside MLflow's, both with one clock."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from mlflow.store.model_registry import sqlalchemy_store

from modelyard.artifacts.store import ArtifactStore
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.registry.mlflow_store import ModelyardStore
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Registry
from modelyard.settings import RegistrySettings
from tests.differential.operations import Environment
from tests.differential.reference import Reference
from tests.differential.runner import Comparison
from tests.fakes.artifacts import SETTINGS
from tests.fakes.cluster import FakeClient
from tests.fakes.s3 import MemoryS3

NAMESPACE = "ml"
TRANSITION_SECONDS = 60.0


class InMemory:
    """A subject: the operator does its part after every operation, and whenever the store waits for it."""

    shares_clock = True

    def __init__(self, environment: Environment, store_class: type[ModelyardStore]) -> None:
        settings = RegistrySettings(**asdict(SETTINGS), transition_timeout=TRANSITION_SECONDS)
        self._now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        self._client = FakeClient(clock=self._clock)
        store = _artifacts(environment)
        # The tracking server and the operator are two processes.
        self._reconcile = RegisteredModelReconciler(self._client, store, self._clock)
        registry = Registry(self._client, store, self._clock)
        self._reconciled: dict[str, str] = {}
        self.store = store_class(
            f"modelyard://{NAMESPACE}", None, settings=settings, registry=registry, clock=self._clock
        )

    def before(self) -> None:
        self._now += timedelta(seconds=1)

    def after(self) -> None:
        """Reconcile what was written until nothing is."""
        requests = self._client.requests
        while any(method != "GET" for method, _ in requests):
            requests.clear()
            for body in self._client.list_all(REGISTERED_MODELS, NAMESPACE):
                metadata = body["metadata"]
                if self._reconciled.get(metadata["uid"]) != metadata["resourceVersion"]:
                    self._reconcile(NAMESPACE, metadata["name"])
                    self._reconciled[metadata["uid"]] = metadata["resourceVersion"]

    def milliseconds(self) -> int:
        """Return the time as MLflow takes it."""
        return round(self._now.timestamp() * 1000)

    def _clock(self) -> datetime:
        return self._now


def _artifacts(environment: Environment) -> ArtifactStore:
    s3 = MemoryS3(SETTINGS.bucket)
    for name in ("one", "two", "three", f"1/models/{environment.model_id}/artifacts"):
        key = f"{SETTINGS.prefix}/artifacts/{name}/model.pkl"
        s3.put_object(Bucket=SETTINGS.bucket, Key=key, Body=name.encode())
    return ArtifactStore(SETTINGS, client=s3.client)


@contextmanager
def pair(
    template: Path, environment: Environment, store_class: type[ModelyardStore] = ModelyardStore
) -> Iterator[Comparison]:
    """Give a fresh pair of registries."""
    subject = InMemory(environment, store_class)
    reference = Reference(template, environment)
    with (
        mock.patch("modelyard.registry.transitions.time.sleep", side_effect=lambda _: subject.after()),
        mock.patch.object(sqlalchemy_store, "get_current_time_millis", subject.milliseconds),
    ):
        try:
            yield Comparison(reference, subject, environment)
        finally:
            reference.close()
