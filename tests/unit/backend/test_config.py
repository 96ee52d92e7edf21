from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.backend.config import Options, read
from modelyard.backend.errors import BackendError

MLFLOW: dict[str, object] = {
    "ENV_MANAGER": None,
    "SYNCHRONOUS": False,
    "DOCKER_ARGS": {},
    "STORAGE_DIR": None,
    "build_image": False,
    "docker_auth": None,
}


def test_without_a_config_everything_has_its_default() -> None:
    for given in (None, {}, MLFLOW):
        config = read(given)
        assert (config.options, config.spec, config.synchronous) == (Options(), {}, False)


def test_the_experiments_own_fields_are_passed_on() -> None:
    spec = {
        "sweep": {"parameters": {"depth": {"values": ["1", "2"]}}},
        "objective": {"metric": "accuracy"},
        "register": {"model": "churn", "when": [{"metric": "accuracy", "min": "0.9"}]},
        "template": {"resources": {"requests": {"cpu": "1"}}},
        "retention": {"maxRuns": 5},
    }
    config = read({**MLFLOW, **spec, "namespace": "team", "name": "churn", "follow": False, "SYNCHRONOUS": True})
    assert config.spec == spec
    assert config.swept == {"depth"}
    assert config.options == Options(namespace="team", name="churn", follow=False)
    assert config.synchronous


def test_env_manager_local_runs_with_the_images_libraries() -> None:
    assert read({"ENV_MANAGER": "local"}).spec == {"environment": "Image"}
    assert read({"ENV_MANAGER": "local", "environment": "Project"}).spec == {"environment": "Project"}
    assert read({"ENV_MANAGER": "virtualenv"}).spec == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sweeps": {}}, "unknown field sweeps; there are .*allowDirty.*sweep"),
        ({"entryPoint": "main"}, "entryPoint cannot be set: use -e"),
        ({"parameters": {}}, "parameters cannot be set: use -P"),
        ({"project": {}}, "project cannot be set"),
        ({"schedule": "@daily"}, "schedule cannot be set: mlflow run runs now"),
        ({"suspend": True}, "suspend cannot be set"),
        ({"sweep": {"parameters": {}}}, "sweep.parameters"),
        ({"sweep": {"algorithm": "Best"}}, "sweep.algorithm"),
        ({"objective": {"metrics": "f1"}}, "objective.metric"),
        ({"allowDirty": "perhaps"}, "allowDirty"),
        ({"name": "Churn_1"}, "name: 'Churn_1' is no name"),
        ({"name": "a" * 53}, "at most 52"),
        ({"DOCKER_ARGS": {"gpus": "all"}}, "--docker-args: set template"),
        ({"build_image": True}, "--build-image"),
        ({"docker_auth": {"username": "x"}}, "imagePullSecrets"),
        ({"STORAGE_DIR": "/tmp/x"}, "--storage-dir"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        read(given)


def test_a_path_is_read_as_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"namespace": "team"}))
    assert read(str(path)).options.namespace == "team"


@pytest.mark.parametrize(("text", "message"), [("{", "cannot read"), ("[]", "no JSON object"), (None, "cannot read")])
def test_a_path_without_a_config_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BackendError, match=message):
        read(str(path))
