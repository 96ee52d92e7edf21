"""A model of older libraries, served from an environment that uv builds for it, kept for the next run of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_serving import mlmodel
from modelyard_serving.environments import differences
from modelyard_serving.environments.building import Environment, build
from tests.unit.serving.processes import CREDENTIALS, SECONDS, Server, free_port, upload

CACHE = Path.home() / ".cache" / "modelyard" / "environments"
REQUIREMENTS = "mlflow==2.22.0\ncloudpickle==3.0.0\nnumpy==1.26.4\npandas==2.1.4\nscikit-learn==1.5.2\n"
MLMODEL = """
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl, predict_fn: predict}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle, sklearn_version: 1.5.2}
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}, {"type": "double", "name": "b", "required": true}]'
"""
TRAIN = """
import json, pickle, sys
import numpy, pandas, sklearn
from sklearn.ensemble import GradientBoostingClassifier
assert (sklearn.__version__, numpy.__version__, pandas.__version__) == ("1.5.2", "1.26.4", "2.1.4")
rows = pandas.DataFrame(numpy.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
model = GradientBoostingClassifier(n_estimators=5).fit(rows, numpy.where(rows["a"] > rows["b"], "yes", "no"))
pickle.dump(model, open(sys.argv[1], "wb"))
print(json.dumps({"rows": rows.to_dict("records"), "labels": model.predict(rows).tolist(),
                  "probabilities": model.predict_proba(rows).tolist()}))
"""
ENTER = """
import sys
from pathlib import Path
from modelyard_serving import logs, mlmodel
from modelyard_serving.environments import enter
logs.configure()
directory = Path(sys.argv[1])
enter(directory, mlmodel.read(directory), "auto", Path(sys.argv[2]))
raise SystemExit("the image did")
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "model"
    path.mkdir()
    (path / "MLmodel").write_text(MLMODEL)
    (path / "requirements.txt").write_text(REQUIREMENTS)
    return path


@pytest.fixture(scope="module")
def environment(directory: Path) -> Environment:
    return build(directory, mlmodel.read(directory), CACHE)


@pytest.fixture(scope="module")
def answers(directory: Path, environment: Environment) -> Any:
    """Trains the model with the libraries that it asks for; its rows, and what it answers there."""
    command = [str(environment.python), "-W", "ignore", "-c", TRAIN, str(directory / "model.pkl")]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True, timeout=SECONDS).stdout)


@pytest.fixture
def server(directory: Path, answers: Any, store: str, tmp_path: Path) -> Iterator[Server]:
    port = free_port()
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(Path.home()),
        **CREDENTIALS,
        "AWS_ENDPOINT_URL_S3": store,
        "MODELYARD_MODEL_NAME": "old",
        "MODELYARD_MODEL_VERSION": "1",
        "MODELYARD_MODEL_SOURCE": "s3://models/old",
        "MODELYARD_MODEL_DIGEST": upload(store, directory, "old"),
        "MODELYARD_MODEL_DIR": str(tmp_path / "model"),
        "MODELYARD_HOST": "127.0.0.1",
        "MODELYARD_PORT": str(port),
        "MODELYARD_DRAIN_SECONDS": "0",
        "MODELYARD_TERMINATION_LOG": str(tmp_path / "termination-log"),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", ENTER, str(directory), str(CACHE)],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process, f"http://127.0.0.1:{port}", tmp_path / "termination-log")
    finally:
        process.kill()
        process.communicate()


def test_a_model_is_served_with_the_libraries_that_it_asks_for(server: Server, directory: Path, answers: Any) -> None:
    assert [text.split("==")[0] for text in differences(directory)] == ["numpy", "scikit-learn"]
    server.wait_ready()
    answer = server.predict({"dataframe_records": answers["rows"]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": answers["labels"]})
    server.process.terminate()
    code, log, errors = server.end()
    events = {line["event"]: line for line in log}
    assert code == 0
    assert "entering_environment" in events
    assert "sklearn_version_differs" not in events
    assert "Traceback" not in errors
