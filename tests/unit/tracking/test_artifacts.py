"""Where artifacts are on the tracking server's artifact proxy."""

from __future__ import annotations

import pytest

from modelyard.decide.experiment_model import Run
from modelyard.tracking.answers import LoggedModel
from modelyard.tracking.artifacts import ArtifactsNotServed, artifacts_path, model_path


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("mlflow-artifacts:/1/abc/artifacts", "1/abc/artifacts"),
        ("mlflow-artifacts:/team%20a/abc/artifacts/", "team a/abc/artifacts"),
        ("mlflow-artifacts://host:5000/1/abc/artifacts", "1/abc/artifacts"),
        ("mlflow-artifacts://host/api/2.0/mlflow-artifacts/artifacts/1/abc/artifacts", "1/abc/artifacts"),
        ("https://host/x/api/2.0/mlflow-artifacts/artifacts/1/abc/artifacts", "1/abc/artifacts"),
    ],
)
def test_what_the_server_serves_has_a_path(uri: str, path: str) -> None:
    assert artifacts_path(Run("abc", artifact_uri=uri)) == path


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/1/abc/artifacts",
        "file:///mlruns/1/abc/artifacts",
        "https://elsewhere/1/abc/artifacts",
        "mlflow-artifacts:/",
        "mlflow-artifacts:/1",
        "mlflow-artifacts:/1/abcd/artifacts",
        "mlflow-artifacts:/1/abc/../other/artifacts",
        "mlflow-artifacts:/1/abc/%2e%2e/other/artifacts",
        "",
    ],
)
def test_what_is_elsewhere_or_not_this_runs_own_has_none(uri: str) -> None:
    with pytest.raises(ArtifactsNotServed, match="run abc are at"):
        artifacts_path(Run("abc", artifact_uri=uri))


def test_a_logged_models_directory_is_its_own() -> None:
    assert model_path(LoggedModel("m-1", "model", "mlflow-artifacts:/1/models/m-1/artifacts")) == (
        "1/models/m-1/artifacts"
    )
    with pytest.raises(ArtifactsNotServed, match="model model are at"):
        model_path(LoggedModel("m-1", "model", "mlflow-artifacts:/1/models"))
