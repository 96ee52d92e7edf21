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
    has_file,
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
        ('entry_points: {main: {command: "a\\0"}}', "entry_points.main.command has a NUL character"),
        ("entry_points: {main: {command: a, parameters: {x: {type: [a]}}}}", "entry_points.main.parameters.x.type"),
        ("entry_points: {main: {command: a, parameters: [x]}}", "entry_points.main.parameters must be a mapping"),
        ("a: 2024-13-45", "MLproject is not valid YAML: month must be in 1..12"),
        ("a: !!bool x", "MLproject is not valid YAML"),
        pytest.param("#" * 65537, "MLproject has more than 65,536 characters", id="long"),
        pytest.param("[" * 1200, "MLproject is nested too deeply", id="deep"),
        ("databricks_spark_job: {python_file: a.py}", "databricks_spark_job needs Databricks"),
        ("conda_env: a\npython_env: b", "Project cannot contain multiple environment fields"),
        ("conda_env:\npython_env: b", "Project cannot contain multiple environment fields"),
        ("conda_env: a.yaml", "Project specified conda environment file a.yaml, but no such file was found; the pro"),
        ("python_env: a.yaml", "Project specified python_env file a.yaml, but no such file was found; the project"),
        ("python_env: [a]", "python_env must be a file's name, not list"),
        ("docker_env: a", "docker_env must be a mapping, not str"),
        ("docker_env: {volumes: [a]}", "Docker environment specified but no image attribute found."),
        ("docker_env: {image: [a]}", "docker_env.image must be an image's name, not list"),
        ("docker_env: {image: a, volumes: /a:/b}", "Docker volumes must be a list of strings, e.g.: '["),
        ("docker_env: {image: a, volumes: [a:b]}", "'a:b' needs an absolute path in the container"),
        ("docker_env: {image: a, volumes: ['a:/']}", "'a:/' needs an absolute path in the container"),
        ("docker_env: {image: a, volumes: ['a:/b/../c']}", "needs an absolute path in the container"),
        ("docker_env: {image: a, volumes: ['a:/b:rx']}", "'a:/b:rx' is not source:target or source:target:ro"),
        ("docker_env: {image: a, volumes: ['a:/b:ro:c']}", "is not source:target or source:target:ro"),
        ("docker_env: {image: a, volumes: ['a:/b', 'c:/b/']}", "docker_env.volumes has two volumes at /b"),
        ("docker_env: {image: a, environment: {A: b}}", "environment must be a list containing either strings (to"),
        ("docker_env: {image: a, environment: [3]}", "environment must be a list containing either strings (to"),
        ("docker_env: {image: a, environment: [[A]]}", "['A'] is no pair of a name and a value"),
        ("docker_env: {image: a, environment: [A=b]}", "'A=b' is no name of a variable"),
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
    with pytest.raises(ProjectError, match="default must be a string or a number, not a list of very many values"):
        project(text)


@pytest.mark.parametrize(
    ("declaration", "parameter"),
    [
        ("int", Parameter("x", "int")),
        ("{default: 3}", Parameter("x", "string", "3")),
        ("{type: float, default: 1e-3}", Parameter("x", "float", "1e-3")),
        ("{type: float, default: 1.0e-3}", Parameter("x", "float", "0.001")),
        ("{type: string, default: true}", Parameter("x", "string", "True")),
        ("{type: string, default: ''}", Parameter("x", "string", "")),
        ("{type: string, default: null}", Parameter("x", "string", None)),
        ("{type: string, default: 2024-01-15}", Parameter("x", "string", "2024-01-15")),
        ("{type: string, default: [1, a]}", Parameter("x", "string", "[1, 'a']")),
        ("{type: 3}", Parameter("x", "3")),
        ("{type: null}", Parameter("x")),
        ("", Parameter("x")),
    ],
)
def test_a_parameter_has_a_type_and_a_default_as_python_writes_it(declaration: str, parameter: Parameter) -> None:
    found = project(f"entry_points: {{main: {{command: a, parameters: {{x: {declaration}}}}}}}")
    assert found.entry_point("main").parameters == {"x": parameter}


def test_an_empty_file_is_a_project_of_scripts() -> None:
    assert project("", ["a.py"]).entry_point("a.py").command == "python a.py"


def test_a_file_whose_text_is_not_there_is_refused() -> None:
    with pytest.raises(ProjectError, match="mlproject cannot be read"):
        parse(Directory(frozenset({"mlproject"})))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.csv", True),
        ("a", True),
        ("./a/../c.py", True),
        ("d", False),
        ("a/d", False),
        ("link/x", None),
        ("../a", None),
        ("/a", None),
        (".", None),
    ],
)
def test_what_a_project_has_is_told_where_it_can_be(path: str, expected: bool | None) -> None:
    assert has_file({"a/b.csv", "c.py", "link"}, path) is expected


def test_an_unknown_entry_point_lists_those_that_exist() -> None:
    found = project(GUIDE, ["conda.yaml"])
    with pytest.raises(ProjectError, match=r"Could not find tune among entry points \['train', 'evaluate'\]") as caught:
        found.entry_point("tune")
    assert caught.value.reason is Reason.ENTRY_POINT_NOT_FOUND


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("train.py", "python train.py"),
        ("run me.sh", "bash 'run me.sh'"),
        ("src/train.py", "python src/train.py"),
        ("./src/train.py", "python ./src/train.py"),
        ("-c.py", "python ./-c.py"),
        ("{a}.py", "python '{{a}}.py'"),
        ("link/of.py", "python link/of.py"),
        ("/opt/tools/x.sh", "bash /opt/tools/x.sh"),
        ("fit.R", "Rscript -e \"mlflow::mlflow_source('fit.R')\" --args"),
    ],
)
def test_a_script_is_an_entry_point_of_its_own(script: str, command: str) -> None:
    assert (
        project(None, ["train.py", "run me.sh", "src/train.py", "-c.py", "{a}.py", "link", "fit.R"])
        .entry_point(script)
        .command
        == command
    )


def test_a_script_that_is_not_there_is_no_entry_point() -> None:
    with pytest.raises(ProjectError, match=r"no file other\.py") as caught:
        project(None, ["train.py"]).entry_point("other.py")
    assert caught.value.reason is Reason.ENTRY_POINT_NOT_FOUND
    with pytest.raises(ProjectError, match="cannot be run by R: rename it"):
        project(None, ["$(reboot).R"]).entry_point("$(reboot).R")


def test_a_directory_without_an_mlproject_says_what_it_holds() -> None:
    with pytest.raises(
        ProjectError, match=r"no MLproject file; it holds README.md, src/, train.py\. Name one"
    ) as caught:
        project(None, ["train.py", "README.md", "src/a.py"]).entry_point("main")
    assert caught.value.reason is Reason.PROJECT_INVALID
