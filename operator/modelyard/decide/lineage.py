"""What a registered version says of where it came from: its tags, from the run and from those above it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import Dataset
from modelyard.api.names import GROUP
from modelyard.api.project_files import TrialEnvironment, environment_from_json
from modelyard.api.registeredmodel import TAG_VALUE_LIMIT
from modelyard.decide.experiment_model import (
    ENVIRONMENT_TAG,
    EXECUTION_TAG,
    EXPERIMENT_TAG,
    IMAGE_TAG,
    PARAMETERS_TAG,
    PROJECT_TAG,
    TRIGGER_TAG,
    Run,
)
from modelyard.decide.run_retention import PARENT_TAG

RUN_NAME_TAG = f"{GROUP}/run-name"
PARENT_RUN_TAG = f"{GROUP}/parent-run"
SOURCE_TAG = f"{GROUP}/source"
COMMIT_TAG = f"{GROUP}/commit"
ENTRY_POINT_TAG = f"{GROUP}/entry-point"
DATA_VERSION_TAG = f"{GROUP}/data-version"
DATASETS_TAG = f"{GROUP}/datasets"
ENVIRONMENT_KEY_TAG = f"{GROUP}/environment-key"
LOCK_TAG = f"{GROUP}/environment-lock"
LOCK_URI_TAG = f"{GROUP}/environment-lock-uri"

_COPIED = {
    "mlflow.source.name": SOURCE_TAG,
    "mlflow.source.git.commit": COMMIT_TAG,
    "mlflow.project.entryPoint": ENTRY_POINT_TAG,
    "data_version": DATA_VERSION_TAG,
    **{tag: tag for tag in (EXPERIMENT_TAG, EXECUTION_TAG, TRIGGER_TAG, PROJECT_TAG, IMAGE_TAG)},
}
"""From tags of a run to tags of a version. MLflow's pages do not show tags that begin with mlflow."""

_VALUE_LIMIT = 250
"""Characters of a parameter's value, where not all of them have room otherwise."""

Json = Any


def lineage(experiment: Experiment, runs: Sequence[Run]) -> dict[str, str]:
    """Return the tags of the version that is registered from the first of `runs`; after it come those above it.

    A run that a program made by itself has none of what its trial knows, so that each tag is from the nearest run
    that has it. No value is longer than an object holds; JSON that would be is left out, or says what of it is.
    """
    found: dict[str, str] = {EXPERIMENT_TAG: f"{experiment.metadata.namespace}/{experiment.metadata.name}"}
    for run in reversed(runs):
        found |= {_COPIED[key]: value for key, value in run.tags.items() if key in _COPIED}
    best = runs[0]
    found |= {RUN_NAME_TAG: best.name, PARENT_RUN_TAG: best.tags.get(PARENT_TAG, "")}
    environment = next(_environments(runs), None)
    if environment is not None:
        found |= {
            IMAGE_TAG: environment.image,
            ENVIRONMENT_KEY_TAG: environment.key,
            LOCK_TAG: environment.lock,
            LOCK_URI_TAG: environment.lock_uri,
        }
    parameters = {key: value for run in reversed(runs) for key, value in run.parameters.items()}
    found[PARAMETERS_TAG] = _parameters(parameters)
    found[DATASETS_TAG] = _datasets(tuple(dict.fromkeys(_key(each) for run in runs for each in run.datasets)))
    return {key: value for key, value in found.items() if 0 < len(value) <= TAG_VALUE_LIMIT}


def _environments(runs: Sequence[Run]) -> Iterator[TrialEnvironment]:
    for run in runs:
        try:
            yield environment_from_json(run.tags[ENVIRONMENT_TAG])
        except (KeyError, ValueError):
            # Tags are anybody's to change.
            continue


def _parameters(parameters: Mapping[str, str]) -> str:
    """Return the parameters as JSON; where they are too long, long values are cut and the last are left out."""
    whole = _json(dict(sorted(parameters.items())))
    if not parameters or len(whole) <= TAG_VALUE_LIMIT:
        return whole if parameters else ""
    cut = [
        (key, value if len(value) <= _VALUE_LIMIT else f"{value[:_VALUE_LIMIT]}…") for key, value in parameters.items()
    ]
    return _fitting([{key: value} for key, value in sorted(cut)], _merged)


def _merged(pairs: list[Json], left: int) -> Json:
    merged = {key: value for pair in pairs for key, value in pair.items()}
    return {**merged, "…": f"{left} more"} if left else merged


def _key(dataset: Dataset) -> tuple[str, str, str, str]:
    return dataset.name, dataset.digest, dataset.context, dataset.source


def _datasets(datasets: Sequence[tuple[str, str, str, str]]) -> str:
    """Return the datasets as a JSON list of objects with name, digest, context and source, as far as they are known."""
    names = ("name", "digest", "context", "source")
    items = [{key: value for key, value in zip(names, each, strict=True) if value} for each in datasets]
    return _fitting(items, lambda some, left: [*some, {"name": f"… {left} more"}] if left else some) if items else ""


def _fitting(items: list[Json], combine: Callable[[list[Json], int], Json]) -> str:
    """Return as many of the items as JSON as there is room for, with how many are left out."""
    for count in range(len(items), 0, -1):
        text = _json(combine(items[:count], len(items) - count))
        if len(text) <= TAG_VALUE_LIMIT:
            return text
    return ""


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
