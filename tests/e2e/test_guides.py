"""The scripts of MLflow's guides, unmodified, with the oldest promised client, against the installed tracking server.

The scripts say where they expect the server, http://localhost:5000, and so that is where it is forwarded to.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from examples.demo.kubectl import Kubectl, condition, is_current
from examples.demo.steps import SYSTEM_NAMESPACE, Demo
from examples.demo.traffic import Endpoint
from modelyard.api.names import object_name
from tests.e2e.scenario import first_answer
from tests.e2e.store import port_forward

GUIDES = Path(__file__).parent / "guides"
CHURN, WINE = "churn-prediction-model", "wine_classifier_rf"

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with the client that the guides ask for, made once by `make test`."""
    return Path(os.environ["MODELYARD_GUIDES_PYTHON"])


@pytest.fixture(scope="module")
def server(installation: Demo) -> Iterator[str]:
    with port_forward(SYSTEM_NAMESPACE, "service/modelyard-tracking", 5000, local=5000):
        yield "http://localhost:5000"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path


def run_script(python: Path, script: str, workdir: Path, server: str) -> str:
    copied = shutil.copy(GUIDES / script, workdir)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": server, "MPLBACKEND": "agg"}
    # Two libraries that each use every core make a search of 405 fits many times slower.
    environment["OMP_NUM_THREADS"] = "1"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL"):
        environment.pop(name, None)
    done = subprocess.run(
        [python, copied], cwd=workdir, env=environment, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, f"{script}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def deploy(kubectl: Kubectl, name: str, model: str, stage: str) -> Endpoint:
    host = f"{name}.example.com"
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": {"name": model, "stage": stage}, "rest": {"replicas": 1, "ingress": {"host": host}}},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    return Endpoint(os.environ.get("MODELYARD_INGRESS", "http://127.0.0.1:18080"), host)


def wait_served(kubectl: Kubectl, name: str, version: int) -> None:
    def served(body: dict[str, Any]) -> bool:
        holder = body.get("status", {}).get("served", {})
        return is_current(body) and condition(body, "Ready").get("status") == "True" and holder["version"] == version

    kubectl.wait_for("modeldeployment", name, served, 240)


def in_stage(kubectl: Kubectl, model: str, stage: str) -> int:
    body = kubectl.get("registeredmodel", object_name(model))
    assert body is not None, f"{model} does not appear as a RegisteredModel"
    return int(body["status"]["stages"][stage]["version"])


def test_the_churn_guide(python: Path, server: str, workdir: Path, kubectl: Kubectl) -> None:
    said = run_script(python, "churn/ml_pipeline.py", workdir, server)
    assert "Experiment Summary" in said
    assert "gb-baseline" in said

    said = run_script(python, "churn/model_registry.py", workdir, server)
    production = in_stage(kubectl, CHURN, "production")
    assert f"Model {CHURN} version {production} transitioned to Production" in said
    assert f"Version {production}: Stage=Production" in said
    listed = kubectl("get", "registeredmodels", CHURN, "--no-headers").split()
    assert listed[:3] == [CHURN, str(production), str(production)]

    endpoint = deploy(kubectl, "guide-churn", CHURN, "Production")
    try:
        wait_served(kubectl, "guide-churn", production)
        answer = first_answer(endpoint, '{"inputs": [[0.1, -0.2, 0.3, 0.4, 1.0, -1.0]]}', production)
        assert answer.predictions in ([0], [1])
    finally:
        kubectl("delete", "modeldeployment", "guide-churn")

    generator = np.random.default_rng(1)
    customers = pd.DataFrame(generator.normal(size=(20, 6)))
    customers.insert(0, "customer_id", range(100, 120))
    customers.to_csv(workdir / "data/customers_to_score.csv", index=False)
    said = run_script(python, "churn/batch_inference.py", workdir, server)
    scored = pd.read_csv(workdir / "data/churn_predictions.csv")
    assert "Predictions saved" in said
    assert list(scored["customer_id"]) == list(range(100, 120))
    assert set(scored["churn_prediction"]) <= {0, 1}


def test_the_wine_guide(python: Path, server: str, workdir: Path, kubectl: Kubectl) -> None:
    said = run_script(python, "wine/train.py", workdir, server)
    assert "142 training samples, 36 test samples" in said

    said = run_script(python, "wine/registry.py", workdir, server)
    staging = in_stage(kubectl, WINE, "staging")
    assert f"Model version {staging} transitioned to Staging" in said
    assert "Prediction Probabilities" in said

    endpoint = deploy(kubectl, "guide-wine", WINE, "Staging")
    try:
        wait_served(kubectl, "guide-wine", staging)
        row = [13.20, 1.78, 2.14, 11.2, 100, 2.65, 2.76, 0.26, 1.28, 4.38, 1.05, 3.40, 1050]
        columns = [f"feature_{number}" for number in range(13)]
        body = json.dumps({"dataframe_split": {"columns": columns, "data": [row]}})
        answer = first_answer(endpoint, body, staging)
        assert answer.predictions == [0]
    finally:
        kubectl("delete", "modeldeployment", "guide-wine")
