"""The stock MLflow client and server on RegisteredModels, a real API server and a real MinIO."""

# mypy: allow-untyped-calls

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.dummy import DummyRegressor

from modelyard.api.names import object_name
from tests.e2e.processes import wait_until
from tests.e2e.registry_fixtures import (
    Cluster,
    Operator,
    api_server,
    minio,
    name,
    operator,
    own_cluster,
    register,
    tracking_uri,
)

__all__ = ["api_server", "minio", "name", "operator", "own_cluster", "tracking_uri"]

# The client's transitions are deprecated in MLflow, and say so.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


@pytest.fixture
def stock(tracking_uri: str) -> MlflowClient:
    """The stock client, which knows the tracking server's address and nothing else."""
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    return MlflowClient()


@pytest.fixture(scope="session")
def logged(tracking_uri: str) -> tuple[str, str]:
    """A model that was logged with scikit-learn: (run id, URI)."""
    mlflow.set_tracking_uri(tracking_uri)
    model = DummyRegressor(strategy="constant", constant=42.0).fit(np.array([[0.0]]), [42.0])
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(model, name="model", serialization_format="cloudpickle", pip_requirements=[])
    return run.info.run_id, f"runs:/{run.info.run_id}/model"


def test_a_models_life_with_the_stock_client(stock: MlflowClient, logged: tuple[str, str], operator: Operator) -> None:
    name = f"Wine Classifier {uuid.uuid4().hex[:6]}"
    run_id, uri = logged
    versions = [mlflow.register_model(uri, name, tags={"n": str(n)}) for n in range(3)]
    assert [int(version.version) for version in versions] == [1, 2, 3]
    assert versions[0].run_id == run_id

    stock.transition_model_version_stage(name, "1", "Staging")
    stock.transition_model_version_stage(name, "1", "Production")
    assert mlflow.sklearn.load_model(f"models:/{name}/Production").predict(np.array([[1.0]])) == [42.0]
    stock.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    stock.transition_model_version_stage(name, "3", "Production")
    found = {int(v.version): v.current_stage for v in stock.search_model_versions(f"name='{name}'")}
    assert found == {1: "Archived", 2: "None", 3: "Production"}
    assert stock.transition_model_version_stage(name, "3", "Archived").current_stage == "Archived"
    assert stock.transition_model_version_stage(name, "3", "None").current_stage == "None"

    stock.set_registered_model_alias(name, "champion", "2")
    assert stock.get_model_version_by_alias(name, "champion").version == "2"
    for reference in (f"models:/{name}@champion", f"models:/{name}/1", f"models:/{name}/latest"):
        assert mlflow.pyfunc.load_model(reference).predict(np.array([[1.0]])) == [42.0]
    stock.set_model_version_tag(name, "2", "quality", "good")
    assert [v.version for v in stock.search_model_versions("tags.quality = 'good'")] == ["2"]
    assert stock.get_model_version(name, "2").tags == {"n": "1", "quality": "good"}
    stock.update_registered_model(name, "Which wine")
    stock.set_registered_model_tag(name, "team", "wine")
    (model,) = stock.search_registered_models("tags.team = 'wine'")
    assert (model.name, model.description, model.aliases) == (name, "Which wine", {"champion": "2"})
    copy = stock.copy_model_version(f"models:/{name}/1", f"{name} copy")
    assert mlflow.pyfunc.load_model(f"models:/{copy.name}/{copy.version}").predict(np.array([[1.0]])) == [42.0]


def test_a_model_may_be_registered_while_it_is_logged(
    stock: MlflowClient, own_cluster: Cluster, operator: Operator
) -> None:
    name = f"at-once-{uuid.uuid4().hex[:6]}"
    model = DummyRegressor(strategy="constant", constant=7.0).fit(np.array([[0.0]]), [7.0])
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=[],
            registered_model_name=name,
        )
    # MLflow's own answer to a client leaves the logged model out.
    (version,) = own_cluster.model(object_name(name)).status.versions
    assert version.source == f"models:/{version.model_id}"
    assert version.run_id == stock.get_model_version(name, "1").run_id


def test_what_git_owns_is_not_changed_by_the_client(
    stock: MlflowClient, own_cluster: Cluster, operator: Operator, name: str
) -> None:
    for number in (1, 2):
        register(own_cluster.registry, name, own_cluster.put_model(f"git-{number}"))
    own_cluster.apply(name, {"stages": {"production": 1}}, "argocd-controller")
    with pytest.raises(MlflowException, match=f"production of {name} is managed by argocd-controller") as raised:
        stock.transition_model_version_stage(name, "2", "Production")
    assert raised.value.error_code == "PERMISSION_DENIED"
    assert stock.transition_model_version_stage(name, "2", "Staging").current_stage == "Staging"
    own_cluster.apply(name, {"stages": {"production": 2}}, "argocd-controller")
    wait_until("the promotion", lambda: own_cluster.model(name).status.stages["production"].version == 2)


def test_a_broken_model_is_not_promoted(
    stock: MlflowClient, own_cluster: Cluster, operator: Operator, name: str
) -> None:
    artifact = own_cluster.put_model(f"broken-{name}")
    register(own_cluster.registry, name, artifact)
    own_cluster.delete_file(f"{artifact}/model.pkl")
    with pytest.raises(MlflowException, match=r"model\.pkl is missing"):
        stock.transition_model_version_stage(name, "1", "Production")
    own_cluster.put_model(f"broken-{name}", b"other")
    own_cluster.patch(name, {"stages": {"production": None}})
    with pytest.raises(MlflowException, match=r"model\.pkl was changed"):
        stock.transition_model_version_stage(name, "1", "Production")
    assert own_cluster.model(name).status.stages == {}


def test_without_an_operator_the_client_is_told_how_to_follow(
    stock: MlflowClient, own_cluster: Cluster, name: str
) -> None:
    register(own_cluster.registry, name, own_cluster.put_model("alone"))
    with pytest.raises(MlflowException, match=f"kubectl get registeredmodel {name} -n default --watch"):
        stock.transition_model_version_stage(name, "1", "Production")
    assert own_cluster.model(name).spec.stages == {"production": 1}


def test_many_clients_at_once(stock: MlflowClient, own_cluster: Cluster, operator: Operator, name: str) -> None:
    source = own_cluster.put_model("clients")

    def create(number: int) -> int:
        return int(stock.create_model_version(name, source, tags={"n": str(number)}).version)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(16))) == list(range(1, 17))
    assert len(stock.search_model_versions(f"name='{name}'")) == 16


def test_sources_that_are_not_taken_are_named(
    stock: MlflowClient, own_cluster: Cluster, name: str, tmp_path: Path
) -> None:
    for source in ("gs://bucket/model", str(tmp_path), "s3://modelyard/team/artifacts/nothing"):
        with pytest.raises(MlflowException) as raised:
            stock.create_model_version(name, source)
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE", raised.value.message
    assert own_cluster.model(name).status.latest_version == 0
