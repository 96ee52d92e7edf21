"""The random operations of `tests.differential`, with Modelyard's registry on a real API server and a real MinIO."""

# mypy: allow-untyped-calls

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from modelyard.registry.mlflow_store import ModelyardStore
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Registry
from modelyard.settings import RegistrySettings
from tests.differential.generator import Generator
from tests.differential.operations import Environment
from tests.differential.reference import Reference
from tests.differential.runner import Comparison, Summary, compare
from tests.differential.tracking import tracking
from tests.e2e.processes import wait_until
from tests.e2e.registry_fixtures import Cluster, Operator, api_server, minio, now, own_cluster

__all__ = ["api_server", "minio", "own_cluster"]

SEEDS = (101, 102)
OPERATIONS = 510

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1800)]


class RealParts:
    """A subject: the store as the tracking server has it, and an operator that watches."""

    shares_clock = False

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        settings = RegistrySettings(**asdict(cluster.minio.settings), transition_timeout=30)
        self._cluster = cluster
        self._namespace = namespace
        registry = Registry(cluster.new_client(), cluster.new_store(), now)
        self.store = ModelyardStore(f"modelyard://{namespace}", None, settings=settings, registry=registry)

    def before(self) -> None:
        """Both registries tell the order of what happened by milliseconds."""
        time.sleep(0.002)

    def after(self) -> None:
        wait_until("the operator has seen every edit", self._seen)

    def _seen(self) -> bool:
        bodies = self._cluster.client.list_all(REGISTERED_MODELS, self._namespace)
        return all(
            body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"] for body in bodies
        )


@pytest.fixture(scope="module")
def tracked(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Environment]]:
    """A tracking store's database and what both registries find in it."""
    artifacts = own_cluster.minio.settings.artifacts_destination
    with tracking(tmp_path_factory.mktemp("differential"), artifacts) as (path, environment):
        for name in ("one", "two", "three", f"1/models/{environment.model_id}/artifacts"):
            own_cluster.put_model(name, name.encode())
        yield path, environment


def test_the_registries_agree_on_real_parts(own_cluster: Cluster, tracked: tuple[Path, Environment]) -> None:
    template, environment = tracked
    runs = itertools.count(1)

    @contextmanager
    def pair() -> Iterator[Comparison]:
        namespace = f"differential-{next(runs)}"
        own_cluster.kubectl("create", "namespace", namespace)
        reference = Reference(template, environment)
        try:
            with Operator(own_cluster, namespace):
                yield Comparison(reference, RealParts(own_cluster, namespace), environment)
        finally:
            reference.close()

    summary = Summary()
    for seed in SEEDS:
        summary += compare(list(Generator(seed).operations(OPERATIONS)), pair, shrink_seconds=300)
    print(f"\n{summary.table()}")
    assert summary.operations >= 1000
