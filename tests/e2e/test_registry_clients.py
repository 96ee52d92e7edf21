"""Many clients, odd names and MLflow's own web page, on the stock server with a real API server and a real MinIO."""

# mypy: allow-untyped-calls

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.dummy import DummyRegressor

from modelyard.api.names import is_dns_label, object_name
from tests.cluster.packages import ensure_packages, find_program, program
from tests.e2e.registry_fixtures import (
    Cluster,
    Operator,
    api_server,
    minio,
    name,
    operator,
    own_cluster,
    tracking_uri,
)

__all__ = ["api_server", "minio", "name", "operator", "own_cluster", "tracking_uri"]

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1200)]

BROWSER = "chromium-headless-shell"

REGISTER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from mlflow import MlflowClient
uri, name, source, count = sys.argv[1:]
client = MlflowClient(uri)
with ThreadPoolExecutor(4) as pool:
    for version in pool.map(lambda _: client.create_model_version(name, source), range(int(count))):
        print(version.version)
"""


@pytest.fixture
def stock(tracking_uri: str) -> MlflowClient:
    """The stock client, which knows the tracking server's address and nothing else."""
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    return MlflowClient()


def test_two_hundred_registrations_from_five_processes_get_two_hundred_numbers(
    tracking_uri: str, own_cluster: Cluster, operator: Operator, name: str
) -> None:
    command = [sys.executable, "-c", REGISTER, tracking_uri, name, own_cluster.put_model("crowd"), "40"]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    numbers = [int(line) for client in clients for line in client.communicate(timeout=1000)[0].split()]
    assert [client.returncode for client in clients] == [0] * 5
    assert sorted(numbers) == list(range(1, 201))
    status = own_cluster.model(name).status
    assert (status.latest_version, status.version_count) == (200, 200)


@pytest.mark.parametrize(
    "kind",
    [
        "Wine Classifier",
        "größe-北京",
        "snake_case.v2",
        "  spaced  ",
        "100% 'sure' \"now\" & then?",
        "two\nlines",
        "n" * 247,
    ],
)
def test_any_name_is_taken_and_found_again(
    stock: MlflowClient, own_cluster: Cluster, operator: Operator, kind: str
) -> None:
    name = f"{kind} {uuid.uuid4().hex[:8]}"
    stock.create_registered_model(name, description=kind)
    stock.create_model_version(name, own_cluster.put_model("names"))
    stock.transition_model_version_stage(name, "1", "Production")
    stock.set_registered_model_alias(name, "champion", "1")

    listed = json.loads(own_cluster.kubectl("get", "registeredmodels", "--output=json"))["items"]
    (body,) = [item for item in listed if item["spec"].get("name") == name]
    assert is_dns_label(body["metadata"]["name"])
    assert body["metadata"]["name"] == object_name(name)
    columns = own_cluster.kubectl("get", "registeredmodel", object_name(name), "--no-headers")
    # Nothing is in Staging.
    assert columns.split()[:3] == [object_name(name), "1", "1"]

    (found,) = stock.get_latest_versions(name, ["Production"])
    assert (found.name, found.version) == (name, "1")
    assert stock.get_registered_model(name).description == kind
    if "'" not in name:
        assert [version.name for version in stock.search_model_versions(f"name = '{name}'")] == [name]
    stock.rename_registered_model(name, f"again {name}"[:256])
    assert stock.get_model_version_by_alias(f"again {name}"[:256], "champion").version == "1"
    stock.delete_registered_model(f"again {name}"[:256])


@pytest.fixture
def wine(stock: MlflowClient, operator: Operator) -> Iterator[str]:
    """A model with two versions that answer with their numbers; the first is in Staging, the second in Production."""
    name = f"Wine {uuid.uuid4().hex[:8]}"
    for answer in (1.0, 2.0):
        model = DummyRegressor(strategy="constant", constant=answer).fit(np.array([[0.0]]), [answer])
        with mlflow.start_run():
            mlflow.sklearn.log_model(
                model,
                name="model",
                serialization_format="cloudpickle",
                pip_requirements=[],
                registered_model_name=name,
            )
    stock.transition_model_version_stage(name, "1", "Staging")
    stock.transition_model_version_stage(name, "2", "Production")
    stock.set_registered_model_alias(name, "first", "1")
    yield name
    stock.delete_registered_model(name)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [("/1", 1.0), ("/2", 2.0), ("/Staging", 1.0), ("/Production", 2.0), ("/latest", 2.0), ("@first", 1.0)],
)
def test_the_stock_client_loads_by_version_stage_latest_and_alias(wine: str, reference: str, answer: float) -> None:
    assert mlflow.pyfunc.load_model(f"models:/{wine}{reference}").predict(np.array([[0.0]])) == [answer]


def test_a_prompt_is_registered_and_loaded(stock: MlflowClient, operator: Operator) -> None:
    name = f"greeting-{uuid.uuid4().hex[:8]}"
    mlflow.genai.register_prompt(name, "Hello {{name}}", commit_message="first")
    mlflow.genai.register_prompt(name, "Good day, {{name}}")
    mlflow.genai.set_prompt_alias(name, "polite", 2)
    assert mlflow.genai.load_prompt(f"prompts:/{name}/1").format(name="Ada") == "Hello Ada"
    assert mlflow.genai.load_prompt(f"prompts:/{name}@polite").format(name="Ada") == "Good day, Ada"
    assert [prompt.name for prompt in mlflow.genai.search_prompts(f"name = '{name}'")] == [name]
    assert stock.search_registered_models(f"name = '{name}'") == []


def page(url: str, directory: Path) -> str:
    """Return what a browser shows at the URL, as its document stands when nothing more is loaded."""
    done = subprocess.run(
        [
            program(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={directory}",
            "--virtual-time-budget=60000",
            "--timeout=60000",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_mlflows_web_page_shows_models_and_versions(
    stock: MlflowClient, tracking_uri: str, wine: str, tmp_path: Path
) -> None:
    ensure_packages(lambda: [] if find_program(BROWSER) else [BROWSER])
    assert wine in page(f"{tracking_uri}/#/models", tmp_path)
    versions = page(f"{tracking_uri}/#/models/{quote(wine)}", tmp_path)
    assert "Version 1" in versions
    assert "Version 2" in versions


def test_the_pages_own_requests_are_answered(tracking_uri: str, wine: str) -> None:
    def ask(path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{tracking_uri}/ajax-api/2.0/mlflow/{path}", timeout=30) as answer:
            return dict(json.load(answer))

    named = quote(f"name ilike '%{wine[5:]}%'")
    (model,) = ask(f"registered-models/search?filter={named}&max_results=10")["registered_models"]
    assert {version["current_stage"] for version in model["latest_versions"]} == {"Staging", "Production"}
    of_model = quote(f"name='{wine}'")
    versions = ask(f"model-versions/search?filter={of_model}&order_by=version_number%20DESC")
    assert [version["version"] for version in versions["model_versions"]] == ["2", "1"]
