"""A version is prepared by a Job before it is served: converted and checked, given its own libraries, or left alone.

The installation prepares versions while this module runs only; all others are spared the Jobs' time.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from examples.demo.kubectl import Kubectl, condition
from examples.demo.steps import SYSTEM_NAMESPACE, Demo
from modelyard.decide.preparation import Ask
from tests.e2e.rollouts.models import labels, rows
from tests.e2e.rollouts.scenario import Json, Rollouts, request
from tests.e2e.store import ArtifactAccess, port_forward

with warnings.catch_warnings():
    # MLflow warns of its own type hints as it is imported.
    warnings.simplefilter("ignore")
    import mlflow.sklearn
    from mlflow.models import infer_signature

ROOT = "s3://modelyard/artifacts/runtime"
PREPARED_SECONDS = 480.0
REST: Json = {"replicas": 1, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module", autouse=True)
def preparing(installation: Demo) -> Iterator[None]:
    """The installation prepares versions; environments come from the index that pods can reach."""
    replace(installation, settings=("serving.preparation.enabled=true",)).install()
    yield
    installation.install()


@pytest.fixture
def rollouts(kubectl: Kubectl) -> Iterator[Rollouts]:
    created = Rollouts(kubectl, [])
    yield created
    created.remove()


def stored(artifacts: ArtifactAccess, name: str, model: Any, *requirements: str) -> str:
    """Put a model into the artifact store, with an example and what it asks for; return its s3:// URI."""
    data = rows()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model"
        mlflow.sklearn.save_model(
            model,
            str(path),
            serialization_format="cloudpickle",
            pip_requirements=list(requirements),
            signature=infer_signature(data, model.predict(data)),
            input_example=data.head(5),
        )
        for file in sorted(each for each in path.rglob("*") if each.is_file()):
            artifacts.write(f"{ROOT}/{name}/{file.relative_to(path)}", file.read_bytes())
    return f"{ROOT}/{name}"


def forest() -> RandomForestClassifier:
    data = rows()
    return RandomForestClassifier(n_estimators=50, random_state=1).fit(data, labels(data))


def declared(rollouts: Rollouts, rest: Json | None = None) -> None:
    """Declare the versions, put the first in Production and have it deployed."""
    versions = [{"version": number, "source": source} for number, source in enumerate(rollouts.sources, start=1)]
    rollouts._apply("RegisteredModel", {"versions": versions, "stages": {"production": 1}})
    spec = {"model": {"name": rollouts.name, "stage": "Production"}, "rest": {**REST, **(rest or {})}}
    rollouts._apply("ModelDeployment", spec)


def asked(rollouts: Rollouts, path: str, body: str | None = None) -> Json:
    """Ask the model's Service."""
    with port_forward(rollouts.kubectl.namespace, f"service/{rollouts.name}", 80) as url:
        sent = urllib.request.Request(url + path, body.encode() if body else None)
        sent.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(sent, timeout=30) as answer:
            found: Json = json.loads(answer.read())
            return found


def accelerated(rollouts: Rollouts) -> tuple[str, str, str]:
    body = rollouts.kubectl.get("modeldeployment", rollouts.name)
    assert body is not None
    found = condition(body, "Accelerated")
    return found["status"], found["reason"], found["message"]


def jobs(rollouts: Rollouts) -> list[str]:
    return rollouts.kubectl("get", "jobs", "-l", f"modelyard.dev/model={rollouts.name}", "-o", "name").split()


def preparation(rollouts: Rollouts, version: int = 1) -> Json:
    model = rollouts.kubectl.get("registeredmodel", rollouts.name)
    assert model is not None
    found: Json = next(each for each in model["status"]["versions"] if each["version"] == version)["preparation"]
    return found


def test_a_forest_is_served_by_onnx_runtime_with_the_originals_answers(
    rollouts: Rollouts, artifacts: ArtifactAccess
) -> None:
    # Given a forest that is registered and promoted
    model = forest()
    rollouts.sources = [stored(artifacts, f"{rollouts.name}/forest", model)]
    declared(rollouts)
    # Then its pods wait for a Job, and answer by ONNX Runtime
    rollouts.reason("Preparing")
    assert rollouts.deployments() == {}
    rollouts.served(1, PREPARED_SECONDS)
    assert accelerated(rollouts)[:2] == ("True", "Verified")
    assert len(jobs(rollouts)) == 1
    described = asked(rollouts, "/metadata")
    assert described["runtime"] == "onnx", json.dumps(described)
    # With the answers of the original
    answers = asked(rollouts, "/invocations", request(200))["predictions"]
    assert answers == model.predict(rows().head(200)).tolist()
    probabilities = asked(rollouts, "/invocations?method=predict_proba", request(200))["predictions"]
    np.testing.assert_allclose(probabilities, model.predict_proba(rows().head(200)), rtol=0, atol=1e-6)
    # The evidence is in the store, and is the one that was recorded
    kept = artifacts.read(f"s3://modelyard/{preparation(rollouts)['directory']}/preparation.json")
    assert f"sha256:{hashlib.sha256(kept).hexdigest()}" == preparation(rollouts)["evidence"]
    assert json.loads(kept)["acceleration"]["evidence"]
    # And nobody can write there any more by what the Job was given
    (job,) = jobs(rollouts)
    assert job.rpartition("/")[2] not in rollouts.kubectl("get", "secret", "modelyard-preparation", "-o", "yaml")

    # When the runtime is turned off, the original answers, and the pods are replaced without a gap
    rollouts.edit({"rest": {"runtime": "Native"}})
    rollouts.until(lambda body: condition(body, "Accelerated").get("reason") == "Disabled")
    rollouts.served(1)
    assert asked(rollouts, "/metadata")["runtime"] == "native"
    assert asked(rollouts, "/invocations", request(200))["predictions"] == answers


def test_what_cannot_be_converted_is_served_as_it_is_and_says_why(
    rollouts: Rollouts, artifacts: ArtifactAccess
) -> None:
    data = rows()
    pipeline = make_pipeline(FunctionTransformer(np.tanh), LogisticRegression(max_iter=500)).fit(data, labels(data))
    rollouts.sources = [stored(artifacts, f"{rollouts.name}/pipeline", pipeline)]
    declared(rollouts)
    rollouts.served(1, PREPARED_SECONDS)
    status, reason, message = accelerated(rollouts)
    assert (status, reason) == ("False", "NotConvertible"), message
    assert message
    assert asked(rollouts, "/metadata")["runtime"] == "native"
    assert asked(rollouts, "/invocations", request(20))["predictions"] == pipeline.predict(data.head(20)).tolist()


def test_poisoned_uploads_are_not_used(rollouts: Rollouts, artifacts: ArtifactAccess) -> None:
    """Somebody has written where the Job would: evidence that calls another file verified than the one there."""
    model = forest()
    source = stored(artifacts, f"{rollouts.name}/forest", model)
    rollouts.sources = [source]
    rollouts._apply("RegisteredModel", {"versions": [{"version": 1, "source": source}]})
    registered = rollouts.kubectl.wait_for(
        "registeredmodel", rollouts.name, lambda body: bool(body.get("status", {}).get("versions")), 60
    )
    digest = registered["status"]["versions"][0]["digest"]
    operator = Kubectl(SYSTEM_NAMESPACE).get("deployment", "modelyard-operator")
    assert operator is not None
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    image = next(each["value"] for each in container["env"] if each["name"] == "MODELYARD_SERVING_IMAGE")
    below = f"s3://modelyard/{Ask(rollouts.kubectl.namespace, rollouts.name, 1, digest, image).directory}"
    evidence = {
        "schemaVersion": 1,
        "digest": digest,
        "environment": {"needed": False},
        "acceleration": {"outcome": "Verified", "model": {"sha256": "0" * 64, "bytes": 6}},
    }
    artifacts.write(f"{below}/model.onnx", b"poison")
    artifacts.write(f"{below}/preparation.json", json.dumps(evidence).encode())
    declared(rollouts)
    rollouts.served(1, PREPARED_SECONDS)
    status, reason, message = accelerated(rollouts)
    assert (status, reason) == ("False", "PreparationFailed")
    assert "what was uploaded is not used: model.onnx is sha256:" in message
    assert jobs(rollouts) == []
    assert asked(rollouts, "/metadata")["runtime"] == "native"
    assert asked(rollouts, "/invocations", request(20))["predictions"] == model.predict(rows().head(20)).tolist()


def test_a_model_of_another_scikit_learn_gets_its_own_and_one_that_cannot_is_refused(
    rollouts: Rollouts, artifacts: ArtifactAccess
) -> None:
    # Given a model that asks for another scikit-learn than the image's, and one that asks for what does not exist
    data = rows()
    model = LinearRegression().fit(data, labels(data))
    rollouts.sources = [
        stored(artifacts, f"{rollouts.name}/older", model, "scikit-learn==1.7.2"),
        stored(artifacts, f"{rollouts.name}/none", model, "scikit-learn==0.0.99"),
    ]
    # When it is promoted, and is not to be answered for by ONNX Runtime, which needs none of them
    declared(rollouts, {"runtime": "Native"})
    rollouts.served(1, PREPARED_SECONDS)
    # Then it is served with its own libraries
    assert preparation(rollouts)["environment"].startswith("sha256:")
    pod = rollouts.kubectl("get", "pods", "-l", f"modelyard.dev/deployment={rollouts.name}", "-o", "name").split()[0]
    running = rollouts.kubectl("exec", pod, "--", "cat", "/proc/1/cmdline").split("\0")
    assert "/environments/" in running[0], running
    assert (
        rollouts.kubectl("exec", pod, "--", running[0], "-c", "import sklearn; print(sklearn.__version__)") == "1.7.2\n"
    )
    assert asked(rollouts, "/invocations", request(5))["predictions"] == pytest.approx(model.predict(data.head(5)))
    # When the other is promoted, it is refused with the difference spelt out, and the stable one stays
    rollouts.promote(2)
    body = rollouts.reason("EnvironmentFailed", PREPARED_SECONDS)
    message = condition(body, "Ready")["message"]
    assert "scikit-learn==0.0.99" in message
    assert "version 1 stays served" in message
    assert body["status"]["served"]["version"] == 1
    assert set(rollouts.deployments()) == {1}
