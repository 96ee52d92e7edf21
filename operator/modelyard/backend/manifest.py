"""Builds what is made in the cluster: an Experiment, and the ConfigMap that holds its project."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from modelyard.api.experiment import Experiment, ExperimentSpec
from modelyard.api.names import API_VERSION, EXPERIMENT_LABEL, GROUP, MANAGED_BY, RUN_ANNOTATION
from modelyard.backend.collect import Files
from modelyard.backend.config import NAME_LIMIT, GitOptions, words
from modelyard.backend.errors import BackendError

Json = dict[str, Any]

MANAGER = "mlflow-run"
"""Field manager, and managed-by label, of what this backend makes."""

DIRTY_TAG = f"{GROUP}/dirty"
"""Run tag: `true` where the project's directory differed from the commit that the run names."""


@dataclass(frozen=True)
class Request:
    """What `mlflow run` asks for: `spec` as the config has it, `tags` for every run besides the config's."""

    name: str
    namespace: str
    experiment_name: str
    project: Json
    entry_point: str
    parameters: Mapping[str, str]
    spec: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)


def git_project(uri: str, version: str | None, options: GitOptions) -> Json:
    """Return `spec.project` for a git URI as MLflow writes it: `url#subdirectory`, and `-v`."""
    url, _, path = uri.strip("'\"").partition("#")
    source: Json = {
        "url": url,
        "revision": version or "HEAD",
        "path": str(PurePosixPath(path)) if path else ".",
        "submodules": options.submodules,
    }
    if options.secret_ref:
        source["secretRef"] = options.secret_ref.to_dict()
    return {"git": source}


def experiment(request: Request, run_again: str | None = None) -> Json:
    """Return the Experiment. `run_again` is the annotation's value where it exists. Raises `BackendError`."""
    tags = {**request.tags, **(request.spec.get("tags") or {})}
    spec = {
        **request.spec,
        "experimentName": request.spec.get("experimentName") or request.experiment_name,
        "tags": tags,
        "project": request.project,
        "entryPoint": request.entry_point,
        "parameters": dict(request.parameters),
    }
    try:
        ExperimentSpec.model_validate(spec)
    except ValidationError as error:
        raise BackendError(f"it cannot be run so: {words(error)}") from error
    return {
        "apiVersion": API_VERSION,
        "kind": Experiment.kind_name,
        "metadata": {
            "name": request.name,
            "namespace": request.namespace,
            "labels": {MANAGED_BY: MANAGER},
            **({"annotations": {RUN_ANNOTATION: run_again}} if run_again else {}),
        },
        "spec": spec,
    }


def config_map(request: Request, files: Files, digest: str) -> Json:
    """Return the ConfigMap of the files, named after their content; nobody changes it any more."""
    text: dict[str, str] = {}
    binary: dict[str, str] = {}
    for path, file in files.items():
        try:
            text[path] = file.content.decode()
        except UnicodeDecodeError:
            binary[path] = b64encode(file.content).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{request.name}-{digest[:8]}",
            "namespace": request.namespace,
            "labels": {MANAGED_BY: MANAGER, EXPERIMENT_LABEL: request.name},
        },
        "immutable": True,
        "data": text,
        "binaryData": binary,
    }


def owner(body: Json) -> Json:
    """Return the reference by which an object goes with the Experiment."""
    return {
        "apiVersion": API_VERSION,
        "kind": Experiment.kind_name,
        "name": body["metadata"]["name"],
        "uid": body["metadata"]["uid"],
    }


def readable_name(project: str, suffix: str) -> str:
    """Return a name for a new Experiment: the project's as far as Kubernetes allows, and a suffix."""
    stem = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")[: NAME_LIMIT - len(suffix) - 1].strip("-")
    return f"{stem or 'run'}-{suffix}"
