"""The MLproject files of the two guides, as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.api.project_files import Directory
from modelyard.projects.command import invoke
from modelyard.projects.mlproject import Environment, EnvironmentKind, Project, ProjectError, parse

GUIDES = Path(__file__).parents[2] / "e2e/guides"


def guide(name: str) -> Project:
    root = GUIDES / name
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}
    return parse(Directory(frozenset(texts), texts))


@pytest.mark.parametrize(
    ("name", "entry_point", "given", "command", "logged"),
    [
        (
            "wine",
            "main",
            {},
            "python train.py --max-depth 10 --n-estimators 100 --test-size 0.2",
            {"max_depth": "10", "n_estimators": "100", "test_size": "0.2"},
        ),
        (
            "wine",
            "main",
            {"max_depth": "5", "seed": "7"},
            "python train.py --max-depth 5 --n-estimators 100 --test-size 0.2 --seed 7",
            {"max_depth": "5", "n_estimators": "100", "test_size": "0.2", "seed": "7"},
        ),
        (
            "wine",
            "evaluate",
            {"model_uri": "models:/wine classifier/1"},
            "python evaluate.py --model-uri 'models:/wine classifier/1'",
            {"model_uri": "models:/wine classifier/1"},
        ),
        ("wine", "train.py", {"a": "1"}, "python train.py --a 1", {"a": "1"}),
        (
            "churn",
            "train",
            {"max_depth": "15"},
            "python train.py --n_estimators 100 --max_depth 15 --learning_rate 0.1 --data_path data/training.csv",
            {"n_estimators": "100", "max_depth": "15", "learning_rate": "0.1", "data_path": "data/training.csv"},
        ),
        ("churn", "tune", {}, "python tune_hyperparameters.py --num_trials 20", {"num_trials": "20"}),
        (
            "churn",
            "evaluate",
            {"model_uri": "runs:/1/model"},
            "python evaluate.py --model_uri runs:/1/model --test_data data/test.csv",
            {"model_uri": "runs:/1/model", "test_data": "data/test.csv"},
        ),
    ],
)
def test_every_entry_point_is_the_command_that_it_says(
    name: str, entry_point: str, given: dict[str, str], command: str, logged: dict[str, str]
) -> None:
    found = invoke(guide(name).entry_point(entry_point), given)
    assert (found.command, found.parameters) == (command, logged)
    # The type `str` is no type of MLflow's: nothing is fetched, and nothing has to be there.
    assert (found.downloads, found.paths) == ((), ())


@pytest.mark.parametrize("name", ["wine", "churn"])
def test_the_environment_is_condas(name: str) -> None:
    assert guide(name).environment == Environment(EnvironmentKind.CONDA, file="conda.yaml")


@pytest.mark.parametrize(
    ("name", "entry_point", "given", "message"),
    [
        ("wine", "evaluate", {}, "No value given for missing parameters: 'model_uri'"),
        ("wine", "main", {"n_estimators": "many"}, "Expected int for parameter n_estimators but got 'many'"),
        ("churn", "train", {"learning_rate": "fast"}, "Expected float for parameter learning_rate but got 'fast'"),
        ("churn", "main", {}, "Could not find main among entry points ['train', 'tune', 'evaluate']"),
    ],
)
def test_what_cannot_be_run_is_refused(name: str, entry_point: str, given: dict[str, str], message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        invoke(guide(name).entry_point(entry_point), given)
    assert message in str(caught.value)
