"""A model that Git manages: a real Argo CD, kubectl, the stock MLflow client and the operator's process on one object.

There is no node: what a gate's Job would come to is written into its status.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from modelyard.__main__ import Connections, reconcilers
from modelyard.api.names import REGISTERED_MODEL_LABEL
from modelyard.api.registeredmodel import RegisteredModel, Stage
from modelyard.cluster.cache import ObjectCache
from modelyard.cluster.cached import CachedClient
from modelyard.decide.managers import owners_of
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Registry
from modelyard.settings import Settings
from tests.e2e.api_server import NAMESPACE, ApiServer
from tests.e2e.argocd import SYNC_SECONDS, Application, GitRepository, run_argocd
from tests.e2e.operator_process import run_operator
from tests.e2e.processes import wait_until
from tests.e2e.registry_fixtures import (
    Cluster,
    api_server,
    minio,
    name,
    now,
    own_cluster,
    register,
    tracking_uri,
)

__all__ = ["api_server", "minio", "name", "own_cluster", "tracking_uri"]

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


@pytest.fixture(scope="session")
def operator(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The operator's process."""
    with run_operator(own_cluster, tmp_path_factory.mktemp("operator")):
        yield


@pytest.fixture
def declared(own_cluster: Cluster, git: GitRepository, operator: None) -> Iterator[Declared]:
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


def operator_settings(cluster: Cluster) -> Settings:
    """The settings of the operator's process."""
    return Settings(
        **asdict(cluster.minio.settings),
        tracking_uri="http://127.0.0.1:9",
        reader_access_key=None,
        reader_secret_key=None,
        serving_image="serving",
        training_image="training",
        operator_image="operator",
        image_pull_policy="IfNotPresent",
        watch_namespaces=(),
    )


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

    # The reconciler of the operator's process, as often as hundreds of events would call it.
    writes: list[str] = []
    client = declared.cluster.new_client(lambda method, path: writes.append(path) if method != "GET" else None)
    settings, store = operator_settings(declared.cluster), declared.cluster.store
    cache = ObjectCache([])
    cached = CachedClient(client, cache)
    connections = Connections(client, cache, cached, store, Registry(client, store, now))
    reconcile = reconcilers(settings, connections)["RegisteredModel"]
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
    reverted = declared.revert(promotion)
    declared.wait_for("production", 1)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)
    moves = declared.model.status.transitions[:2]
    assert {(move.version, move.from_, move.to) for move in moves} == {
        (1, Stage.ARCHIVED, Stage.PRODUCTION),
        (2, Stage.PRODUCTION, Stage.ARCHIVED),
    }
    assert {(move.by, move.revision) for move in moves} == {(GIT, reverted)}
    assert promotion in {move.revision for move in declared.model.status.transitions[2:]}


def test_what_is_done_past_git_is_put_back(declared: Declared) -> None:
    declared.commit("Promote version 1", stages={"production": 1})
    declared.wait_for("production", 1)
    declared.cluster.patch(declared.name, {"stages": {"production": 3}})
    wait_until("Argo CD to put it back", lambda: declared.model.spec.stages == {"production": 1}, SYNC_SECONDS)
    declared.wait_for("production", 1)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)


def test_a_version_that_does_not_exist_degrades_the_application(declared: Declared) -> None:
    declared.commit("Promote version 1", stages={"production": 1})
    declared.wait_for("production", 1)
    mistake = declared.commit("Promote version 7", stages={"production": 7})
    declared.application.wait_for("Synced", "Degraded")
    health, message = declared.application.health_of("RegisteredModel", declared.name)
    assert health == "Degraded"
    assert "spec.stages.production: there is no version 7" in message
    assert holds(declared.model, "production") == 1
    declared.revert(mistake)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)


# Gates

SMOKE = {"name": "smoke", "job": {"command": ["python", "-c", "import mlflow"]}}
APPROVAL = {"name": "approval", "approvers": ["risk-team"]}
QUALITY = {"name": "quality", "metric": "f1_score", "min": "0.85"}


def wait_for_health(declared: Declared, status: str, *words: str) -> None:
    """Wait until Argo CD shows this health of the model, with these words in its message, and is in sync."""

    def shown() -> bool:
        health, message = declared.application.health_of("RegisteredModel", declared.name)
        return health == status and all(word in message for word in words)

    wait_until(f"{status}: {words}", shown, SYNC_SECONDS)
    declared.application.wait_for("Synced", status)


def end_job(declared: Declared, *, succeeded: bool) -> None:
    """Write what the Job's controller would, once the operator has made the Job."""
    labels = f"{REGISTERED_MODEL_LABEL}={declared.name}"
    kubectl = declared.cluster.kubectl
    wait_until("the Job", lambda: bool(kubectl("get", "jobs", "-l", labels, "-o", "name")))
    job = kubectl("get", "jobs", "-l", labels, "-o", "name").strip()
    moment = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    types = ("SuccessCriteriaMet", "Complete") if succeeded else ("FailureTarget", "Failed")
    condition = {"status": "True", "reason": "Test", "message": "it ended", "lastTransitionTime": moment}
    status = {
        "startTime": moment,
        "conditions": [{"type": each, **condition} for each in types],
        **({"succeeded": 1, "completionTime": moment} if succeeded else {"failed": 1}),
    }
    kubectl("patch", job, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def test_a_gate_shows_as_progressing_then_as_degraded_and_a_revert_mends_it(declared: Declared) -> None:
    declared.commit("Gate Production", gates={"production": [SMOKE]})
    declared.application.wait_for(*SYNCED_AND_HEALTHY)
    promotion = declared.commit("Promote version 1", stages={"production": 1})
    wait_for_health(declared, "Progressing", "smoke")
    end_job(declared, succeeded=False)
    wait_for_health(declared, "Degraded", "smoke")
    assert holds(declared.model, "production") is None
    declared.revert(promotion)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)


def test_a_gate_that_is_passed_ends_healthy_with_the_version_in_its_stage(declared: Declared) -> None:
    declared.commit("Promote version 2", gates={"production": [SMOKE]}, stages={"production": 2})
    wait_for_health(declared, "Progressing", "smoke")
    end_job(declared, succeeded=True)
    declared.wait_for("production", 2)
    declared.application.wait_for(*SYNCED_AND_HEALTHY)
    assert declared.model.status.transitions[0].gates


def test_a_missing_approval_suspends_the_application(declared: Declared) -> None:
    declared.commit("Ask for approval", gates={"production": [APPROVAL]}, stages={"production": 1})
    wait_for_health(declared, "Suspended", "approval")
    assert holds(declared.model, "production") is None


def test_versions_that_git_declares_pass_the_gates_that_git_declares(declared: Declared) -> None:
    def version(number: int, score: str) -> dict[str, Any]:
        source = declared.cluster.put_model(f"{declared.name}-{number}")
        return {"version": number, "source": source, "metrics": {"f1_score": score}}

    bad, good = version(4, "0.71"), version(5, "0.93")
    declared.commit("Declare version 4", gates={"production": [QUALITY]}, versions=[bad], stages={"production": 4})
    wait_for_health(declared, "Degraded", "quality", "0.71", "0.85")
    declared.commit("Declare a better one", versions=[bad, good], stages={"production": 5})
    declared.wait_for("production", 5)
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
