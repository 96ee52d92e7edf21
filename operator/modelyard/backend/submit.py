"""Makes the Experiment, and what it needs, of what `mlflow run` is given."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from mlflow.projects.utils import fetch_and_validate_project, load_project
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_REPO_URL,
    MLFLOW_PROJECT_BACKEND,
    MLFLOW_USER,
)

from modelyard.api.common import ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.api.names import EXPERIMENT_LABEL, MANAGED_BY
from modelyard.api.reasons import ConditionType
from modelyard.backend import checkout, upload
from modelyard.backend.collect import Files, collect, in_config_map, refuse_changes
from modelyard.backend.config import Config, GitOptions
from modelyard.backend.errors import BackendError
from modelyard.backend.follow import EXPERIMENTS, Asked, Before
from modelyard.backend.manifest import (
    DIRTY_TAG,
    MANAGER,
    Json,
    Request,
    config_map,
    experiment,
    git_project,
    owner,
    readable_name,
)
from modelyard.cluster.client import ApiError, Client, Conflict
from modelyard.cluster.resources import CONFIG_MAPS

BACKEND = "modelyard"
_DEFAULT_EXPERIMENT = "0"


class Submission:
    """Submits one run."""

    def __init__(self, client: Client, mlflow: MlflowClient, config: Config, tracking_uri: str) -> None:
        self._client = client
        self._mlflow = mlflow
        self._config = config
        self._tracking_uri = tracking_uri
        self.made = False
        """Whether the Experiment did not exist before."""

    def __call__(  # noqa: PLR0917 - what MLflow gives
        self,
        namespace: str,
        uri: str,
        entry_point: str,
        parameters: Mapping[str, Any],
        version: str | None,
        experiment_id: str,
    ) -> Asked:
        """Make the Experiment, or have one run once more.

        Raises `BackendError`, `ApiError`, and what MLflow raises of a project or a tracking server.
        """
        if not self._tracking_uri.startswith(("http://", "https://")):
            raise BackendError(
                f"the tracking URI is {self._tracking_uri}: set MLFLOW_TRACKING_URI to the tracking server of the"
                " installation, where the runs are"
            )
        given = {name: str(value) for name, value in parameters.items()}
        if twice := sorted(given.keys() & self._config.swept):
            raise BackendError(f"{', '.join(twice)}: given by -P and by the sweep of the backend config")
        options = self._config.options
        existing = self._existing(namespace, options.name) if options.name else None
        directory = self._directory(uri, version, entry_point, given)
        project = _project_name(directory) if directory else _repository_name(uri)
        name = options.name or readable_name(project, secrets.token_hex(3))
        files, tags = self._files(directory) if directory else ({}, {})
        source = {} if directory else git_project(uri, version, options.git or GitOptions())
        request = Request(
            name=name,
            namespace=namespace,
            experiment_name=self._experiment_name(experiment_id, project),
            project=source,
            entry_point=entry_point,
            parameters=given,
            spec=self._config.spec,
            tags={MLFLOW_USER: getpass.getuser(), MLFLOW_PROJECT_BACKEND: BACKEND, **tags},
        )
        return self._submit(request, files, existing)

    def _directory(self, uri: str, version: str | None, entry_point: str, given: Mapping[str, str]) -> Path | None:
        """Return the project's local directory, checked as MLflow does; None where it is in git."""
        plain = uri.strip("'\"").partition("#")[0]
        local = plain.startswith("file://") or Path(plain).exists()
        if not local and not plain.endswith(".zip"):
            return None
        if version is not None:
            raise BackendError(
                f"-v {version} needs the URL of a git repository: {plain} is run as it is. Check the version out,"
                " or give the repository's URL"
            )
        checked = {**given, **dict.fromkeys(self._config.swept, "")}
        return Path(fetch_and_validate_project(uri, None, entry_point, checked))  # type: ignore[no-untyped-call]

    def _files(self, directory: Path) -> tuple[Files, dict[str, str]]:
        found = checkout.read(directory)
        if found is None:
            return collect(directory, None), {}
        if not self._config.options.allow_dirty:
            refuse_changes(found)
        tags = {MLFLOW_GIT_COMMIT: found.commit}
        if found.url:
            tags[MLFLOW_GIT_REPO_URL] = found.url
        if found.changed:
            tags[DIRTY_TAG] = "true"
        return collect(directory, found), tags

    def _experiment_name(self, experiment_id: str, project: str) -> str:
        """Return the MLflow experiment's name: the one that was asked for; else the project's, not `Default`."""
        if str(experiment_id) == _DEFAULT_EXPERIMENT:
            return project
        return str(self._mlflow.get_experiment(str(experiment_id)).name)

    def _existing(self, namespace: str, name: str) -> Experiment | None:
        body = self._client.find(EXPERIMENTS, namespace, name)
        if body is None:
            return None
        found = Experiment.parse(body)
        if found.metadata.labels.get(MANAGED_BY) != MANAGER:
            raise BackendError(
                f"Experiment {namespace}/{name} exists and was not made by mlflow run: choose another name, or run it"
                f" once more as it is: kubectl modelyard run {name} -n {namespace}"
            )
        conditions = {each.type: each.status for each in found.status.conditions}
        if conditions.get(ConditionType.SUCCEEDED, ConditionStatus.UNKNOWN) is ConditionStatus.UNKNOWN:
            raise BackendError(
                f"Experiment {namespace}/{name} is running: wait for its end, delete it, or leave name out of the"
                " backend config to run beside it"
            )
        return found

    def _submit(self, request: Request, files: Files, existing: Experiment | None) -> Asked:
        held: Json | None = None
        if files and in_config_map(files):
            held = config_map(request, files, upload.digest(files))
            request = replace(request, project={"configMap": {"name": held["metadata"]["name"]}})
        elif files:
            run_id = upload.keep(self._mlflow, files, request.name, _kept_tags(request))
            request = replace(request, project={"run": {"id": run_id}})
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = experiment(request, now if existing else None)
        new = self._hold(held) if held else False
        try:
            written = self._client.apply(EXPERIMENTS, body, MANAGER)
        except ApiError:
            if held and new:
                self._client.delete(CONFIG_MAPS, request.namespace, held["metadata"]["name"])
            raise
        if held:
            self._own(held, written)
        self.made = existing is None
        metadata = written["metadata"]
        before = _before(existing) if existing else Before()
        return Asked(request.namespace, request.name, metadata["uid"], metadata["generation"], before)

    def _hold(self, held: Json) -> bool:
        """Create the ConfigMap; return whether it is new. One of the same content serves as well."""
        metadata = held["metadata"]
        try:
            self._client.create(CONFIG_MAPS, metadata["namespace"], held, MANAGER)
        except Conflict:
            there = self._client.get(CONFIG_MAPS, metadata["namespace"], metadata["name"])
            if any((there.get(part) or {}) != held[part] for part in ("data", "binaryData")):
                raise BackendError(
                    f"ConfigMap {metadata['namespace']}/{metadata['name']} exists with other content: delete it"
                ) from None
            return False
        return True

    def _own(self, held: Json, written: Json) -> None:
        """Let the ConfigMap go with its Experiment, and those of earlier runs go now."""
        metadata = held["metadata"]
        patch = {"metadata": {"ownerReferences": [owner(written)]}}
        self._client.merge_patch(CONFIG_MAPS, metadata["namespace"], metadata["name"], patch, MANAGER)
        labels = f"{MANAGED_BY}={MANAGER},{EXPERIMENT_LABEL}={written['metadata']['name']}"
        for other in self._client.list_all(CONFIG_MAPS, metadata["namespace"], labels):
            if other["metadata"]["name"] != metadata["name"]:
                self._client.delete(CONFIG_MAPS, metadata["namespace"], other["metadata"]["name"])


def _before(existing: Experiment) -> Before:
    return Before(existing.metadata.generation, existing.status.execution, existing.status.conditions)


def _kept_tags(request: Request) -> dict[str, str]:
    known = (MLFLOW_USER, MLFLOW_GIT_COMMIT, MLFLOW_GIT_REPO_URL, DIRTY_TAG)
    return {name: request.tags[name] for name in known if name in request.tags}


def _project_name(directory: Path) -> str:
    return load_project(str(directory)).name or directory.name  # type: ignore[no-untyped-call]


def _repository_name(uri: str) -> str:
    url, _, path = uri.strip("'\"").partition("#")
    last = PurePosixPath(urlparse(url).path or url).name.removesuffix(".git").rpartition(":")[2]
    return PurePosixPath(path).name if path else last
