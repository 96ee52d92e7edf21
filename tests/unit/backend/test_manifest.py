from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.names import RUN_ANNOTATION, is_dns_label
from modelyard.backend.collect import File
from modelyard.backend.config import GitOptions
from modelyard.backend.errors import BackendError
from modelyard.backend.manifest import Request, config_map, experiment, git_project, readable_name
from modelyard.sources import configmap

REQUEST = Request(
    name="churn-1",
    namespace="team",
    experiment_name="churn",
    project={"configMap": {"name": "churn-1-00000000"}},
    entry_point="train",
    parameters={"depth": "5"},
    spec={"objective": {"metric": "accuracy"}, "tags": {"team": "blue"}},
    tags={"mlflow.user": "ada", "team": "red"},
)


def test_the_experiment_has_what_was_asked_for_and_the_configs_fields() -> None:
    body = experiment(REQUEST)
    parsed = Experiment.parse(body)
    assert parsed.spec.entry_point == "train"
    assert parsed.spec.parameters == {"depth": "5"}
    assert parsed.spec.experiment_name == "churn"
    assert parsed.spec.tags == {"mlflow.user": "ada", "team": "blue"}
    assert body["spec"]["objective"] == {"metric": "accuracy"}
    assert "annotations" not in body["metadata"]


def test_running_once_more_is_asked_for_by_the_annotation() -> None:
    assert experiment(REQUEST, "2026-01-01T00:00:00Z")["metadata"]["annotations"] == {
        RUN_ANNOTATION: "2026-01-01T00:00:00Z"
    }


def test_a_name_in_mlflow_that_the_config_has_wins() -> None:
    request = replace(REQUEST, spec={"experimentName": "other"})
    assert experiment(request)["spec"]["experimentName"] == "other"


def test_what_the_types_do_not_allow_is_refused_by_its_path() -> None:
    with pytest.raises(BackendError, match=r"parameters\.depth"):
        experiment(replace(REQUEST, parameters={"depth": "x" * 2000}))


def test_the_config_map_gives_the_files_back_byte_by_byte() -> None:
    files = {"MLproject": File(b"name: churn\n"), "data.bin": File(b"\xff\x00"), "empty.py": File(b"")}
    body = config_map(REQUEST, files, "abcdef0123")
    assert body["metadata"]["name"] == "churn-1-abcdef01"
    assert body["immutable"] is True
    assert configmap.files(body) == {path: file.content for path, file in files.items()}


@pytest.mark.parametrize(
    ("uri", "version", "source"),
    [
        (
            "https://git.example/churn.git",
            None,
            {"url": "https://git.example/churn.git", "revision": "HEAD", "path": "."},
        ),
        (
            "https://git.example/churn#ml/train",
            "v1",
            {"url": "https://git.example/churn", "revision": "v1", "path": "ml/train"},
        ),
        (
            "'git@git.example:ml/churn.git'",
            "main",
            {"url": "git@git.example:ml/churn.git", "revision": "main", "path": "."},
        ),
    ],
)
def test_a_git_uri_is_read_as_mlflow_writes_it(uri: str, version: str | None, source: dict[str, Any]) -> None:
    assert git_project(uri, version, GitOptions()) == {"git": {**source, "submodules": True}}


def test_a_git_secret_comes_from_the_config() -> None:
    options = GitOptions.model_validate({"secretRef": {"name": "git"}, "submodules": False})
    source = git_project("https://git.example/churn", None, options)["git"]
    assert (source["secretRef"], source["submodules"]) == ({"name": "git"}, False)


@pytest.mark.parametrize("url", ["https://user:secret@git.example/churn", "nowhere", "file:///srv/churn"])
def test_what_is_no_git_url_is_refused(url: str) -> None:
    with pytest.raises(BackendError, match=r"project\.git\.url"):
        experiment(replace(REQUEST, project=git_project(url, None, GitOptions())))


@pytest.mark.parametrize(
    ("project", "name"),
    [
        ("churn", "churn-0a1b2c"),
        ("Churn Prediction!", "churn-prediction-0a1b2c"),
        ("żółw", "w-0a1b2c"),
        ("日本", "run-0a1b2c"),
        ("x" * 80, "x" * 45 + "-0a1b2c"),
    ],
)
def test_names_are_readable_and_kubernetes(project: str, name: str) -> None:
    assert readable_name(project, "0a1b2c") == name
    assert is_dns_label(name, 52)
