"""A model that Git manages, with a real Argo CD, kubectl and the stock MLflow client on the same object."""

# mypy: allow-untyped-calls

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from modelyard.api.registeredmodel import RegisteredModel, Stage
from modelyard.decide.managers import owners_of
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.registry.objects import REGISTERED_MODELS
from tests.e2e.api_server import NAMESPACE, ApiServer
from tests.e2e.argocd import Application, GitRepository, run_argocd
from tests.e2e.processes import wait_until
from tests.e2e.registry_fixtures import (
    Cluster,
    Operator,
    api_server,
    minio,
    name,
    now,
    operator,
    own_cluster,
    register,
    tracking_uri,
)

__all__ = ["api_server", "minio", "name", "operator", "own_cluster", "tracking_uri"]

# The client's transitions are deprecated in MLflow, and say so.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

GIT = "argocd-controller"
SYNCED_AND_HEALTHY = ("Synced", "Healthy")


@dataclass
class Declared:
    """A model whose manifest is in Git, with three versions."""

    cluster: Cluster
    application: Application
    name: str
    spec: dict[str, Any] = field(default_factory=dict)

    def commit(self, message: str, *, wait: bool = True, **spec: Any) -> str:
        """Change fields of `spec` in Git (None removes one), wait until Argo CD has applied it; return the commit."""
        self.spec = {key: value for key, value in (self.spec | spec).items() if value is not None}
        manifest = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "RegisteredModel",
            "metadata": {"name": self.name},
            "spec": self.spec,
        }
        commit = self.application.git.commit({f"{self.application.name}/{self.name}.yaml": manifest}, message)
        if wait:
            self.application.wait_for_sync(commit)
        return commit

    def revert(self, commit: str) -> str:
        """Take a commit back, as `commit` does one."""
        reverted = self.application.git.revert(commit)
        self.application.wait_for_sync(reverted)
        return reverted

    @property
    def model(self) -> RegisteredModel:
        return self.cluster.model(self.name)

    def wait_for(self, key: str, version: int) -> None:
        wait_for_version(self.cluster, self.name, key, version)


def wait_for_version(cluster: Cluster, model: str, key: str, version: int) -> None:
    wait_until(f"version {version} in {key}", lambda: holds(cluster.model(model), key) == version)


def holds(model: RegisteredModel, key: str) -> int | None:
    stage = model.status.stages.get(key)
    return stage.version if stage else None


def owners_of_production(model: RegisteredModel) -> tuple[str, ...]:
    return owners_of(model.metadata.managed_fields, ("spec", "stages", "production"))


@pytest.fixture(scope="session")
def git(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitRepository]:
    """The repository of an Argo CD that runs."""
    with run_argocd(api_server, tmp_path_factory.mktemp("argocd")):
        yield GitRepository(tmp_path_factory.mktemp("git"))


@pytest.fixture
def declared(own_cluster: Cluster, git: GitRepository, operator: Operator) -> Iterator[Declared]:
    """A model in Git, which Argo CD keeps in sync, with versions that somebody registered."""
    made = f"churn-{uuid.uuid4().hex[:8]}"
    model = Declared(own_cluster, Application(own_cluster.server, made, git), made)
    model.application.create()
    model.commit("Declare the model", description="Who is about to leave")
    register_versions(own_cluster, made)
    model.application.wait_for(*SYNCED_AND_HEALTHY)
    yield model
    model.application.delete()
    own_cluster.client.delete(REGISTERED_MODELS, NAMESPACE, made)


def register_versions(cluster: Cluster, model: str) -> None:
    for number in (1, 2, 3):
        assert register(cluster.registry, model, cluster.put_model(f"{model}-{number}")) == number


@pytest.fixture
def stock(tracking_uri: str) -> MlflowClient:
    """The stock MLflow client."""
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


# Git


def test_argo_cd_and_the_operator_leave_each_other_alone(declared: Declared) -> None:
    declared.commit("Promote version 1", stages={"production": 1, "staging": 2})
    declared.wait_for("staging", 2)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)
    before, syncs = declared.model, len(declared.application.status()["history"])
    declared.application.seen.clear()

    writes: list[str] = []
    client = declared.cluster.new_client(lambda method, path: writes.append(path) if method != "GET" else None)
    reconcile = RegisteredModelReconciler(client, declared.cluster.store, now)
    for number in range(300):
        reconcile(NAMESPACE, declared.name)
        if number % 30 == 0:
            declared.application.refresh()
            declared.application.state()

    assert writes == []
    assert set(declared.application.seen) == {SYNCED_AND_HEALTHY}
    assert len(declared.application.status()["history"]) == syncs
    after = declared.model
    assert (after.spec, after.metadata.generation) == (before.spec, before.metadata.generation)
    assert {entry["manager"] for entry in after.metadata.managed_fields if not entry.get("subresource")} == {GIT}


def test_a_commit_promotes_and_git_revert_rolls_back(declared: Declared) -> None:
    declared.commit("Promote version 1", stages={"production": 1})
    declared.wait_for("production", 1)
    promotion = declared.commit("Promote version 2", stages={"production": 2})
    declared.wait_for("production", 2)
    declared.revert(promotion)
    declared.wait_for("production", 1)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)
    moves = [(move.version, move.from_, move.to, move.by) for move in declared.model.status.transitions]
    assert set(moves[:2]) == {(1, Stage.ARCHIVED, Stage.PRODUCTION, GIT), (2, Stage.PRODUCTION, Stage.ARCHIVED, GIT)}


def test_what_is_done_past_git_is_put_back(declared: Declared) -> None:
    declared.commit("Promote version 1", stages={"production": 1})
    declared.wait_for("production", 1)
    declared.cluster.patch(declared.name, {"stages": {"production": 3}})
    wait_until("Argo CD to put it back", lambda: declared.model.spec.stages == {"production": 1}, 60)
    declared.wait_for("production", 1)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)


def test_a_version_that_does_not_exist_degrades_the_application(declared: Declared) -> None:
    declared.commit("Promote version 1", stages={"production": 1})
    mistake = declared.commit("Promote version 7", stages={"production": 7})
    declared.application.wait_for("Synced", "Degraded")
    health, message = declared.application.health_of("RegisteredModel", declared.name)
    assert health == "Degraded"
    assert "spec.stages.production: there is no version 7" in message
    assert holds(declared.model, "production") == 1
    declared.revert(mistake)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)


# Git and the MLflow client


def test_git_owns_production_and_the_client_keeps_staging(declared: Declared, stock: MlflowClient) -> None:
    declared.commit("Promote version 1", stages={"production": 1})
    declared.wait_for("production", 1)
    refusal = f"production of {declared.name} is managed by {GIT}: change it there"
    with pytest.raises(MlflowException, match=refusal) as raised:
        stock.transition_model_version_stage(declared.name, "2", "Production")
    assert raised.value.error_code == "PERMISSION_DENIED"
    assert declared.model.spec.stages == {"production": 1}

    assert stock.transition_model_version_stage(declared.name, "3", "Staging").current_stage == "Staging"
    declared.application.refresh()
    declared.application.wait_for(*SYNCED_AND_HEALTHY)
    declared.commit("Promote version 2", stages={"production": 2})
    declared.wait_for("production", 2)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)
    assert holds(declared.model, "staging") == 3


def test_a_stage_is_handed_to_git_and_back_without_leaving_it_empty(declared: Declared, stock: MlflowClient) -> None:
    stock.transition_model_version_stage(declared.name, "1", "Production")
    declared.commit("Take production over", stages={"production": 2})
    declared.wait_for("production", 2)
    with pytest.raises(MlflowException, match=f"is managed by {GIT}"):
        stock.transition_model_version_stage(declared.name, "1", "Production")

    # Whoever applies the value that is there owns it, too; what Git then lets go of stays.
    # Nothing differs by that, so that Argo CD does not apply it by itself.
    declared.cluster.apply(declared.name, {"stages": {"production": 2}}, "handover")
    declared.commit("Let go of production", wait=False, stages=None)
    declared.application.sync()
    wait_until("Git to let go", lambda: GIT not in owners_of_production(declared.model))
    assert holds(declared.model, "production") == 2
    stock.transition_model_version_stage(declared.name, "1", "Production")
    assert holds(declared.model, "production") == 1
    declared.application.refresh()
    declared.application.wait_for(*SYNCED_AND_HEALTHY)


def test_a_stage_that_git_lets_go_of_is_empty_where_nobody_else_wants_it(declared: Declared) -> None:
    declared.commit("Promote version 1", stages={"production": 1})
    declared.wait_for("production", 1)
    declared.commit("Take it out of Production", stages=None)
    wait_until("the stage to be empty", lambda: declared.model.status.stages == {})


# The same edit, by whom it may be


def apply_on_the_server(cluster: Cluster, model: str, version: int) -> None:
    cluster.apply(model, {"stages": {"production": version}}, "kubectl")


def edit(cluster: Cluster, model: str, version: int) -> None:
    if not cluster.model(model).spec.stages:
        cluster.patch(model, {"stages": {"production": version}})
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBE_EDITOR", f"sed -i -E 's/^( +production:) [0-9]+$/\\1 {version}/'")
        cluster.kubectl("edit", "registeredmodel", model)


@pytest.fixture(params=["kubectl apply --server-side", "kubectl edit", "MLflow"])
def promote(request: pytest.FixtureRequest, stock: MlflowClient) -> Callable[[Cluster, str, int], None]:
    """A way of promoting a version to Production."""

    def transition(_: Cluster, model: str, version: int) -> None:
        stock.transition_model_version_stage(model, str(version), "Production", archive_existing_versions=True)

    ways = {"kubectl apply --server-side": apply_on_the_server, "kubectl edit": edit, "MLflow": transition}
    return ways[request.param]


def effect(model: RegisteredModel) -> dict[str, Any]:
    """What a promotion leaves, but for when and by whom."""
    return {
        "spec": model.spec.stages,
        "stages": {key: stage.version for key, stage in model.status.stages.items()},
        "versions": {version.version: version.stage for version in model.status.versions},
        "transitions": [(move.version, move.from_, move.to) for move in model.status.transitions],
        "conditions": [(each.type, each.status, each.reason, each.message) for each in model.status.conditions],
    }


def test_every_way_of_promoting_has_the_effect_of_a_commit(
    declared: Declared, own_cluster: Cluster, name: str, promote: Callable[[Cluster, str, int], None]
) -> None:
    register_versions(own_cluster, name)
    for version in (1, 2):
        declared.commit(f"Promote version {version}", stages={"production": version})
        declared.wait_for("production", version)
        promote(own_cluster, name, version)
        wait_for_version(own_cluster, name, "production", version)
    wait_until("the same effect", lambda: effect(own_cluster.model(name)) == effect(declared.model))
    assert effect(declared.model)["versions"] == {1: Stage.ARCHIVED, 2: Stage.PRODUCTION, 3: Stage.NONE}
