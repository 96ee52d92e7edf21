"""Keeps a project's files in MLflow: as the artifact of a run, whose tag says what it holds.

An Experiment runs them with `project.run`. The tracking server knows where the installation keeps artifacts; whoever
runs `mlflow run` does not have to. The runs are in an MLflow experiment of their own, one for each content.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from modelyard.api.names import GROUP
from modelyard.api.project_files import KeptFiles, to_json
from modelyard.backend import collect
from modelyard.backend.collect import Files
from modelyard.decide.experiment_model import PROJECT_TAG
from modelyard.sources import keep as copies

PROJECTS_EXPERIMENT = "modelyard-projects"
ARCHIVE_ARTIFACT = "modelyard/project.tar.gz"
DIGEST_TAG = f"{GROUP}/project-digest"


def digest(files: Files) -> str:
    """Return the SHA-256, in hex, of the names and contents, as the operator computes it."""
    return copies.digest(collect.content(files))


def keep(client: MlflowClient, files: Files, name: str, tags: dict[str, str]) -> str:
    """Return the id of a run that holds the files; one that exists is used again.

    Raises `mlflow.exceptions.MlflowException` where the server does not take them.
    """
    content = digest(files)
    experiment_id = _experiment(client)
    found = client.search_runs([experiment_id], f"tags.`{DIGEST_TAG}` = '{content}'", max_results=1)
    kept = [run for run in found if run.info.status == "FINISHED" and PROJECT_TAG in run.data.tags]
    if kept:
        return str(kept[0].info.run_id)
    run = client.create_run(experiment_id, tags={**tags, DIGEST_TAG: content}, run_name=name)
    _upload(client, run, files)
    uri = f"{run.info.artifact_uri.rstrip('/')}/{ARCHIVE_ARTIFACT}"
    # Last: a run without it holds nothing.
    client.set_tag(run.info.run_id, PROJECT_TAG, to_json(KeptFiles(uri, content, f"mlflow run {name}")))
    # `set_terminated` would show its address as that of the run.
    client.update_run(run.info.run_id, status="FINISHED")
    return str(run.info.run_id)


def _upload(client: MlflowClient, run: Run, files: Files) -> None:
    directory, _, name = ARCHIVE_ARTIFACT.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="modelyard-") as place:
        path = Path(place) / name
        with path.open("wb") as file:
            copies.pack(collect.content(files), file)
        client.log_artifact(run.info.run_id, str(path), directory)


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(PROJECTS_EXPERIMENT)
    return str(found.experiment_id) if found else str(client.create_experiment(PROJECTS_EXPERIMENT))
