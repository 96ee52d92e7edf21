from __future__ import annotations

import pytest

from modelyard.registry.sources import InvalidSource, Origin, directory, download_uri, resolve

ROOT = "s3://models/team/artifacts"


class Known:
    """An MLflow with one logged model, one run and one version."""

    def run_artifact(self, run_id: str, path: str) -> Origin:
        return Origin(f"mlflow-artifacts:/0/{run_id}/artifacts/{path}")

    def model(self, uri: str) -> Origin:
        return {
            "models:/m-1": Origin("mlflow-artifacts:/0/models/m-1/artifacts", "run-1", "m-1"),
            "models:/Wine One/3": Origin("s3://versions/wine/3", None, "m-2"),
        }[uri]


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("s3://bucket/dir/", Origin("s3://bucket/dir")),
        ("mlflow-artifacts:/0/run/artifacts/model", Origin(f"{ROOT}/0/run/artifacts/model")),
        ("mlflow-artifacts://host:5000/0/run", Origin(f"{ROOT}/0/run")),
        ("mlflow-artifacts://host/api/2.0/mlflow-artifacts/artifacts/0/run", Origin(f"{ROOT}/0/run")),
        ("http://host/api/2.0/mlflow-artifacts/artifacts/0/run", Origin(f"{ROOT}/0/run")),
        ("models:/m-1", Origin(f"{ROOT}/0/models/m-1/artifacts", "run-1", "m-1")),
        ("runs:/run-3/model", Origin(f"{ROOT}/0/run-3/artifacts/model")),
        ("models:/Wine One/3", Origin("s3://versions/wine/3", None, "m-2")),
    ],
)
def test_sources(source: str, origin: Origin) -> None:
    assert resolve(source, ROOT, Known()) == origin


@pytest.mark.parametrize("source", ["file:///tmp/model", "/tmp/model", "dbfs:/model", "gs://b/model", "s3://", ""])
def test_other_sources_are_refused_with_those_that_are_taken(source: str) -> None:
    with pytest.raises(InvalidSource, match=r"sources are s3://…, mlflow-artifacts:/…, runs:/<run>/<path>, models:/"):
        resolve(source, ROOT, Known())


@pytest.mark.parametrize("source", ["mlflow-artifacts:/../registry", "s3://b/a/%2e%2e/c"])
def test_relative_paths_are_refused(source: str) -> None:
    with pytest.raises(InvalidSource, match="has a relative path in it"):
        directory(source, ROOT)


@pytest.mark.parametrize(
    ("artifact", "uri"),
    [
        (f"{ROOT}/0/run/artifacts/model", "mlflow-artifacts:/0/run/artifacts/model"),
        ("s3://other/model", "s3://other/model"),
        (f"{ROOT}-2/model", f"{ROOT}-2/model"),
    ],
)
def test_clients_download_through_the_tracking_server_where_it_serves(artifact: str, uri: str) -> None:
    assert download_uri(artifact, ROOT) == uri
