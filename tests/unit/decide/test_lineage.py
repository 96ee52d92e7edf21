"""What a registered version says of where it came from."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import Dataset
from modelyard.api.project_files import GitFiles, TrialEnvironment, environment_to_json, to_json
from modelyard.api.registeredmodel import TAG_VALUE_LIMIT
from modelyard.decide.experiment_model import (
    ENVIRONMENT_TAG,
    EXECUTION_TAG,
    EXPERIMENT_TAG,
    IMAGE_TAG,
    MADE_BY_TAG,
    PARAMETERS_TAG,
    PROJECT_TAG,
    TRIGGER_TAG,
    Run,
)
from modelyard.decide.lineage import DATASETS_TAG, lineage

EXPERIMENT = Experiment.parse(
    {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "churn", "namespace": "ml", "uid": "u"},
        "spec": {},
    }
)
PROJECT = to_json(GitFiles("https://git.example/churn.git", "c" * 40))
ENVIRONMENT = TrialEnvironment(
    "e1", "training:1", "s3://b/e.tar.gz", "sha256:aa", lock="sha256:bb", lock_uri="s3://b/lock.txt", packages=12
)
PARENT = Run(
    "p",
    "churn-12345678",
    tags={
        EXPERIMENT_TAG: "ml/churn",
        EXECUTION_TAG: "12345678",
        TRIGGER_TAG: "Spec",
        PROJECT_TAG: PROJECT,
        ENVIRONMENT_TAG: environment_to_json(ENVIRONMENT),
        "mlflow.source.name": "https://git.example/churn.git",
        "mlflow.source.git.commit": "c" * 40,
        "mlflow.project.entryPoint": "train",
        "data_version": "v2.3.1",
        "team": "data-science",
    },
)
WINE = Dataset(name="wine", digest="d1", context="training", source="s3://data/wine.csv")
TRIAL = Run(
    "t",
    "depth=15",
    tags={**PARENT.tags, "mlflow.parentRunId": "p", PARAMETERS_TAG: '{"depth": "15"}'},
    parameters={"depth": "15", "trees": "100"},
    datasets=(WINE,),
)
MADE = Run(
    "m",
    "forest",
    tags={EXPERIMENT_TAG: "ml/churn", EXECUTION_TAG: "12345678", MADE_BY_TAG: "t", "mlflow.parentRunId": "t"},
    parameters={"trees": "200"},
    datasets=(Dataset(name="test", digest="d2"), WINE),
)
OF_TRIAL = {
    "modelyard.dev/experiment": "ml/churn",
    "modelyard.dev/execution": "12345678",
    "modelyard.dev/trigger": "Spec",
    "modelyard.dev/run-name": "depth=15",
    "modelyard.dev/parent-run": "p",
    "modelyard.dev/source": "https://git.example/churn.git",
    "modelyard.dev/commit": "c" * 40,
    "modelyard.dev/project": PROJECT,
    "modelyard.dev/entry-point": "train",
    "modelyard.dev/parameters": '{"depth": "15", "trees": "100"}',
    "modelyard.dev/data-version": "v2.3.1",
    "modelyard.dev/datasets": '[{"name": "wine", "digest": "d1", "context": "training", "source": "s3://data/wine.csv"}]',
    "modelyard.dev/image": "training:1",
    "modelyard.dev/environment-key": "e1",
    "modelyard.dev/environment-lock": "sha256:bb",
    "modelyard.dev/environment-lock-uri": "s3://b/lock.txt",
}


def test_a_version_names_run_code_parameters_data_and_environment() -> None:
    assert lineage(EXPERIMENT, [TRIAL, PARENT]) == OF_TRIAL


def test_a_run_that_a_program_made_has_what_its_trial_and_parent_know() -> None:
    bare = Run("t", "depth=15", tags={"mlflow.parentRunId": "p"}, parameters=TRIAL.parameters, datasets=(WINE,))
    assert lineage(EXPERIMENT, [MADE, bare, PARENT]) == {
        **OF_TRIAL,
        "modelyard.dev/run-name": "forest",
        "modelyard.dev/parent-run": "t",
        "modelyard.dev/parameters": '{"depth": "15", "trees": "200"}',
        "modelyard.dev/datasets": json.dumps(
            [
                {"name": "test", "digest": "d2"},
                {"name": "wine", "digest": "d1", "context": "training", "source": "s3://data/wine.csv"},
            ]
        ),
    }


def test_what_is_not_known_is_not_said() -> None:
    assert lineage(EXPERIMENT, [Run("r")]) == {"modelyard.dev/experiment": "ml/churn"}
    altered = Run("r", tags={ENVIRONMENT_TAG: "not JSON", IMAGE_TAG: "training:2"})
    assert lineage(EXPERIMENT, [altered])["modelyard.dev/image"] == "training:2"


def test_what_has_no_room_is_cut_and_counted() -> None:
    many = {f"p{number:04}": "x" * 300 for number in range(30)}
    datasets = tuple(Dataset(name=f"{number:02}" + "n" * 400, digest="d") for number in range(30))
    tags = lineage(EXPERIMENT, [Run("r", "r", tags={PROJECT_TAG: "{" * 6000}, parameters=many, datasets=datasets)])
    parameters = json.loads(tags[PARAMETERS_TAG])
    assert parameters["p0000"] == "x" * 250 + "…"
    assert parameters["…"] == f"{30 - len(parameters) + 1} more"
    shown = json.loads(tags[DATASETS_TAG])
    assert shown[-1] == {"name": f"… {30 - len(shown) + 1} more"}
    assert PROJECT_TAG not in tags


words = st.text(max_size=30) | st.integers(0, 6000).map(lambda length: "ü" * length)
some_runs = st.builds(
    Run,
    run_id=st.just("r"),
    name=words.map(lambda text: text[:250]),
    tags=st.dictionaries(st.sampled_from([*PARENT.tags, IMAGE_TAG, PARAMETERS_TAG, "mlflow.parentRunId"]), words),
    parameters=st.dictionaries(words.map(lambda text: text[:250]), words, max_size=60),
    datasets=st.lists(
        st.builds(
            Dataset,
            name=words.map(lambda text: text[:500]),
            digest=words.map(lambda text: text[:64]),
            source=words.map(lambda text: text[:1024]),
        ),
        max_size=15,
    ).map(tuple),
)


@given(st.lists(some_runs, min_size=1, max_size=3))
def test_every_tag_fits_and_json_is_whole(runs: list[Run]) -> None:
    tags = lineage(EXPERIMENT, runs)
    assert len(tags) <= 16
    assert all(0 < len(value) <= TAG_VALUE_LIMIT for value in tags.values())
    readable: dict[str, Any] = {tag: json.loads(tags[tag]) for tag in (PARAMETERS_TAG, DATASETS_TAG) if tag in tags}
    names = {name for run in runs for name in run.parameters}
    assert set(readable.get(PARAMETERS_TAG, {})) <= {*names, "…"}
    assert (PARAMETERS_TAG in tags) == bool(names)
