"""Modelyard's registry on a cluster and a bucket in memory, beside MLflow's, both with one clock."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from unittest import mock

from mlflow.store.model_registry import sqlalchemy_store

from modelyard.registry.mlflow_store import ModelyardStore
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.settings import RegistrySettings
from tests.differential.operations import Environment
from tests.differential.reference import Reference
from tests.differential.runner import Comparison
from tests.fakes.artifacts import SETTINGS, bucket
from tests.unit.registry.world import NAMESPACE, World

TRANSITION_SECONDS = 5.0


class InMemory:
    """A subject: the operator does its part after every operation, and whenever the store waits for it."""

    shares_clock = True

    def __init__(self, world: World, store_class: type[ModelyardStore]) -> None:
        settings = RegistrySettings(**asdict(SETTINGS), transition_timeout=TRANSITION_SECONDS)
        self._world = world
        self._reconciled: dict[str, str] = {}
        self.store = store_class(
            f"modelyard://{NAMESPACE}", None, settings=settings, registry=world.registry, clock=world.clock
        )

    def before(self) -> None:
        self._world.clock.forward(1)

    def after(self) -> None:
        """Reconcile what was written until nothing is."""
        requests = self._world.client.requests
        while any(method != "GET" for method, _ in requests):
            requests.clear()
            for body in self._world.client.list_all(REGISTERED_MODELS, NAMESPACE):
                metadata = body["metadata"]
                if self._reconciled.get(metadata["uid"]) != metadata["resourceVersion"]:
                    self._world.reconcile(metadata["name"])
                    self._reconciled[metadata["uid"]] = metadata["resourceVersion"]

    def milliseconds(self) -> int:
        """Return the time as MLflow takes it."""
        return round(self._world.clock().timestamp() * 1000)


@contextmanager
def pair(
    template: Path, environment: Environment, store_class: type[ModelyardStore] = ModelyardStore
) -> Iterator[Comparison]:
    """Give a fresh pair of registries."""
    with bucket() as made:
        for name in ("one", "two", "three", f"1/models/{environment.model_id}/artifacts"):
            # One file: every request to the bucket costs more than all the rest.
            made.put(f"{SETTINGS.artifacts_destination}/{name}/model.pkl", name.encode())
        subject = InMemory(World(made), store_class)
        reference = Reference(template, environment)
        with (
            mock.patch("modelyard.registry.transitions.time.sleep", side_effect=lambda _: subject.after()),
            mock.patch.object(sqlalchemy_store, "get_current_time_millis", subject.milliseconds),
        ):
            try:
                yield Comparison(reference, subject, environment)
            finally:
                reference.close()
