"""The example of the churn guide: what its manifests ask for is what its project offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api import Experiment, ModelDeployment, RegisteredModel
from modelyard.api.project_files import Directory
from modelyard.decide.experiment_trials import Search
from modelyard.projects.command import invoke
from modelyard.projects.mlproject import parse

CHURN = Path(__file__).parents[3] / "examples/churn"
PROJECT = CHURN / "project"


def manifest(name: str) -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load((CHURN / name).read_text())
    body["metadata"]["namespace"] = "ml"
    return body


@pytest.mark.parametrize(
    ("name", "trial_names", "first"),
    [
        ("experiment.yaml", ["rf-baseline", "rf-tuned", "gb-baseline"], "python train.py --configuration rf-baseline"),
        (
            "retrain.yaml",
            ["3", "6"],
            "python train.py --configuration forest --n-estimators 40 --max-depth 3 --min-samples-split 2 "
            "--random-state 7",
        ),
    ],
)
def test_every_trial_can_be_run(name: str, trial_names: list[str], first: str) -> None:
    experiment = Experiment.parse(manifest(name))
    search = Search(experiment, "e1")
    found = [trial for index in range(search.size) if (trial := search.next(index, ()))]
    assert [trial.name for trial in found] == trial_names
    texts = {path.name: path.read_text() for path in PROJECT.iterdir()}
    project = parse(Directory(frozenset(texts), texts))
    commands = [invoke(project.entry_point(experiment.spec.entry_point), trial.parameters).command for trial in found]
    assert commands[0] == first


def test_the_config_map_has_every_file_under_the_name_that_the_experiments_use() -> None:
    kustomization = yaml.safe_load((CHURN / "kustomization.yaml").read_text())
    (generator,) = kustomization["configMapGenerator"]
    files = {f"project/{path.name}" for path in PROJECT.iterdir() if path.is_file()}
    assert set(generator["files"]) == files
    assert kustomization["generatorOptions"] == {"disableNameSuffixHash": True}
    for name in ("experiment.yaml", "retrain.yaml"):
        project = Experiment.parse(manifest(name)).spec.project
        assert project is not None
        source = project.config_map
        assert source is not None
        assert source.name == generator["name"]


def test_what_is_registered_is_what_is_served() -> None:
    model = RegisteredModel.parse(manifest("registeredmodel.yaml"))
    assert ModelDeployment.parse(manifest("modeldeployment.yaml")).spec.model.name == model.model_name
    for name in ("experiment.yaml", "retrain.yaml"):
        register = Experiment.parse(manifest(name)).spec.register_
        assert register is not None
        assert register.model == model.model_name


@pytest.mark.parametrize("path", sorted(CHURN.glob("*.yaml")), ids=lambda path: str(path.name))
def test_manifests_leave_the_namespace_to_whoever_applies_them(path: Path) -> None:
    assert "namespace" not in yaml.safe_load(path.read_text()).get("metadata", {})
