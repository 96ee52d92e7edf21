from __future__ import annotations

from collections.abc import Collection

import pytest

from modelyard.api.project_files import Directory
from modelyard.api.reasons import Reason
from modelyard.projects.docker import DockerVolume
from modelyard.projects.mlproject import (
    Environment,
    EnvironmentKind,
    Parameter,
    Project,
    ProjectError,
    find_mlproject,
    parse,
)

GUIDE = """
name: customer-churn-prediction
conda_env: conda.yaml
entry_points:
  train:
    parameters:
      n_estimators: {type: int, default: 100}
      learning_rate: {type: float, default: 0.1}
      data_path: {type: str, default: "data/training.csv"}
      model_uri: uri
    command: "python train.py --n_estimators {n_estimators}"
  evaluate:
    command: "python evaluate.py"
"""


def project(text: str | None, names: Collection[str] = ()) -> Project:
    texts = {} if text is None else {"MLproject": text}
    return parse(Directory(frozenset({*names, *texts}), texts))


def test_entry_points_have_typed_parameters_with_defaults() -> None:
    found = project(GUIDE, ["conda.yaml", "train.py"])
    train = found.entry_point("train")
    assert found.name == "customer-churn-prediction"
    assert train.parameters == {
        "n_estimators": Parameter("n_estimators", "int", "100"),
        "learning_rate": Parameter("learning_rate", "float", "0.1"),
        "data_path": Parameter("data_path", "str", "data/training.csv"),
        "model_uri": Parameter("model_uri", "uri", None),
    }


def test_a_docker_environment_has_its_image_variables_and_volumes() -> None:
    text = """
docker_env:
  image: mlflow-docker-example
  volumes: ["/local/path:/container/mount/path", "data:/data:ro", "/scratch"]
  environment: [[NEW_ENV_VAR, new_var_value], VAR_TO_COPY_FROM_HOST_ENVIRONMENT, [N, 3]]
"""
    assert project(text).environment == Environment(
        EnvironmentKind.DOCKER,
        image="mlflow-docker-example",
        docker_environment=(
            ("NEW_ENV_VAR", "new_var_value"),
            ("VAR_TO_COPY_FROM_HOST_ENVIRONMENT", None),
            ("N", "3"),
        ),
        docker_volumes=(
            DockerVolume("/local/path", "/container/mount/path"),
            DockerVolume("data", "/data", read_only=True),
            DockerVolume("", "/scratch"),
        ),
    )


@pytest.mark.parametrize("name", ["MLproject", "mlproject", "MLPROJECT"])
def test_the_files_name_may_have_any_case(name: str) -> None:
    assert find_mlproject(["train.py", name]) == name


@pytest.mark.parametrize(
    ("field", "names", "kind", "file", "image"),
    [
        ("conda_env: env.yaml", ["env.yaml"], EnvironmentKind.CONDA, "env.yaml", ""),
        ("python_env: p.yaml", ["p.yaml"], EnvironmentKind.PYTHON, "p.yaml", ""),
        ("docker_env: {image: 'ml-training:latest'}", [], EnvironmentKind.DOCKER, "", "ml-training:latest"),
        ("name: x", ["conda.yaml"], EnvironmentKind.CONDA, "conda.yaml", ""),
        ("name: x", ["conda.yaml", "python_env.yaml"], EnvironmentKind.PYTHON, "python_env.yaml", ""),
    ],
)
def test_environments_are_recognised(
    field: str, names: list[str], kind: EnvironmentKind, file: str, image: str
) -> None:
    environment = project(field, names).environment
    assert environment is not None
    assert (environment.kind, environment.file, environment.image) == (kind, file, image)


def test_a_project_without_environment_has_none() -> None:
    assert project("name: x", ["train.py"]).environment is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entry_points: [", "MLproject is not valid YAML"),
        ("- a", "MLproject must be a mapping, not list"),
        ("entry_points: [a]", "entry_points must be a mapping, not list"),
        ("entry_points: {main: {}}", "entry_points.main.command is missing"),
        ("entry_points: {main: {command: ''}}", "entry_points.main.command is missing"),
        ("entry_points: {main: {command: a, parameters: {x: {type: 3}}}}", "entry_points.main.parameters.x.type"),
        ("entry_points: {main: {command: a, parameters: {x: {default: [1]}}}}", "parameters.x.default must be"),
        ("conda_env: a\npython_env: b", "Project cannot contain multiple environment fields"),
        ("conda_env: a.yaml", "Project specified conda environment file a.yaml, but no such file was found."),
        ("docker_env: {volumes: [a]}", "Docker environment specified but no image attribute found."),
    ],
)
def test_a_broken_file_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        project(text)
    assert caught.value.reason is Reason.PROJECT_INVALID
    assert message in str(caught.value)


def test_a_file_that_expands_without_end_is_refused() -> None:
    bomb = "a: &a [x, x]\n" + "\n".join(
        f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    text = f"{bomb}\nentry_points: {{main: {{command: a, parameters: {{x: {{default: *k}}}}}}}}"
    with pytest.raises(ProjectError, match="default must be a string or a number"):
        project(text)


def test_an_unknown_entry_point_lists_those_that_exist() -> None:
    found = project(GUIDE, ["conda.yaml"])
    with pytest.raises(ProjectError, match=r"Could not find tune among entry points \['train', 'evaluate'\]") as caught:
        found.entry_point("tune")
    assert caught.value.reason is Reason.ENTRY_POINT_NOT_FOUND


@pytest.mark.parametrize(
    ("script", "command"),
    [("train.py", "python train.py"), ("run me.sh", "bash 'run me.sh'"), ("src/train.py", "python src/train.py")],
)
def test_a_script_is_an_entry_point_of_its_own(script: str, command: str) -> None:
    assert project(None, ["train.py", "run me.sh", "src/train.py"]).entry_point(script).command == command


def test_a_script_that_is_not_there_is_no_entry_point() -> None:
    with pytest.raises(ProjectError, match=r"no file other\.py") as caught:
        project(None, ["train.py"]).entry_point("other.py")
    assert caught.value.reason is Reason.ENTRY_POINT_NOT_FOUND


def test_a_directory_without_an_mlproject_says_what_it_holds() -> None:
    with pytest.raises(ProjectError, match=r"no MLproject file; it holds README.md, train.py") as caught:
        project(None, ["train.py", "README.md"]).entry_point("main")
    assert caught.value.reason is Reason.PROJECT_INVALID
