"""python_env.yaml, conda.yaml and the requirement files they include, as MLflow, conda and pip document them."""

from __future__ import annotations

import pytest

from modelyard.api.project_files import Directory
from modelyard.projects.environment_files import recipe_of
from modelyard.projects.mlproject import Environment, EnvironmentKind, ProjectError
from modelyard_environments.recipe import CONDA, IMAGE, PYTHON, Recipe

CHURN = """
# conda.yaml
name: churn-prediction
channels:
  - conda-forge
  - defaults
dependencies:
  - python=3.10
  - pip
  - pip:
    - mlflow>=2.10.0
    - scikit-learn>=1.3.0
    - pandas>=2.0.0
    - numpy>=1.24.0
"""
WINE = """
name: wine-classification
channels:
  - conda-forge
dependencies:
  - python=3.10
  - pip
  - pip:
    - mlflow[extras]
    - scikit-learn
"""


def conda(text: str, **files: str) -> Recipe:
    return read(EnvironmentKind.CONDA, "conda.yaml", {"conda.yaml": text, **files})


def python(text: str, name: str = "python_env.yaml", files: dict[str, str] | None = None) -> Recipe:
    return read(EnvironmentKind.PYTHON, name, {name: text, **(files or {})})


def read(kind: EnvironmentKind, name: str, texts: dict[str, str]) -> Recipe:
    return recipe_of(Environment(kind, file=name), Directory(frozenset(texts), texts))


def test_the_guides_files() -> None:
    churn = conda(CHURN)
    assert (churn.kind, churn.python, churn.channels) == (CONDA, "3.10", ("conda-forge", "defaults"))
    assert churn.packages == ("python=3.10", "pip")
    assert churn.requirements == ("mlflow>=2.10.0", "scikit-learn>=1.3.0", "pandas>=2.0.0", "numpy>=1.24.0")
    wine = conda(WINE)
    assert (wine.channels, wine.requirements) == (("conda-forge",), ("mlflow[extras]", "scikit-learn"))


def test_python_env() -> None:
    text = "python: '3.10.4'\nbuild_dependencies: [pip==24.0, setuptools]\ndependencies: [numpy, -r requirements.txt]\n"
    found = python(text, files={"requirements.txt": "pandas\n", "other.txt": "no part of it"})
    assert (found.kind, found.python, found.build) == (PYTHON, "3.10.4", ("pip==24.0", "setuptools"))
    assert found.requirements == ("numpy", "-r requirements.txt")
    assert found.files == {"requirements.txt": "pandas\n"}


def test_files_include_each_other_relative_to_themselves() -> None:
    files = {
        "env/r/a.txt": "-r b.txt  # more\n--constraint=../c.txt\n-rd.txt\n-r https://x/y.txt\n",
        "env/r/b.txt": "-r a.txt\n",
        "env/r/d.txt": "",
        "env/c.txt": "numpy<3\n",
    }
    found = python("dependencies: [-r r/a.txt]", "env/python_env.yaml", files)
    assert (found.folder, found.files) == ("env", files)


@pytest.mark.parametrize(
    ("entry", "version"),
    [
        ("python=3.10", "3.10"),
        ("python==3.10.4", "3.10.4"),
        ("python = 3.10.*", "3.10"),
        ("conda-forge::python=3.9", "3.9"),
        ("python=3.10=abc_0_cpython", "3.10"),
        ("python>=3.9", None),
        ("python", None),
        ("pythonnet=3", None),
    ],
)
def test_the_python_of_a_conda_environment(entry: str, version: str | None) -> None:
    assert conda(f"dependencies: ['{entry}']").python == version


def test_without_channels_conda_forge_is_asked() -> None:
    assert conda("dependencies: [numpy]").channels == ("conda-forge",)


def test_equal_content_is_equal_whatever_else_the_project_holds() -> None:
    assert conda(WINE, **{"notes.txt": "a"}).digest == conda(WINE, **{"notes.txt": "b"}).digest
    assert conda(WINE).digest != conda(CHURN).digest


def test_a_project_that_says_nothing_has_the_image() -> None:
    nothing = Directory(frozenset())
    assert recipe_of(None, nothing) == Recipe(IMAGE)
    assert recipe_of(Environment(EnvironmentKind.DOCKER, image="x"), nothing) == Recipe(IMAGE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("python: 3.10", "python_env.yaml: python must be a version such as '3.10' (in quotes: YAML reads 3.10 as"),
        ("python: three", "python must be a version"),
        ("dependencies: numpy", "python_env.yaml: dependencies must be a list, not str"),
        ("dependencies: [1]", "python_env.yaml: dependencies[1] must be a string, not 1"),
        ("[]", "python_env.yaml must be a mapping, not list"),
        ("a: [", "python_env.yaml is not valid YAML"),
        ("dependencies: [-r gone.txt]", "the project has no file gone.txt"),
        ("dependencies: [-r ../up.txt]", "../up.txt is not in the project"),
        ("dependencies: [-r /etc/passwd]", "/etc/passwd is not in the project"),
        ("dependencies: [-e .]", "installed from the project's own files"),
        ("dependencies: [./lib]", "installed from the project's own files"),
        ("dependencies: [dist/churn-1.0-py3-none-any.whl]", "installed from the project's own files"),
    ],
)
def test_what_is_wrong_in_python_env_is_named(text: str, says: str) -> None:
    with pytest.raises(ProjectError) as caught:
        python(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "churn @ https://x/churn-1.0.tar.gz",
        "https://x/churn-1.0-py3-none-any.whl",
        "git+https://x/churn.git@v1",
        "--extra-index-url https://x/simple",
        "numpy>=2; python_version > '3.8'",
        "zip-tool",
    ],
)
def test_what_comes_from_elsewhere_is_no_file_of_the_project(line: str) -> None:
    assert python(f'dependencies:\n- "{line}"\n').requirements == (line,)


def test_a_fault_in_an_included_file_is_named_with_its_line() -> None:
    with pytest.raises(ProjectError, match=r"^r\.txt line 2: the project has no file s\.txt$"):
        python("dependencies: [-r r.txt]", files={"r.txt": "numpy\n-r s.txt\n"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dependencies: [{pip: [a], conda: [b]}]", "dependencies[1] must be a package or `pip:`"),
        ("dependencies: [3]", "dependencies[1] must be a package"),
        ("dependencies: {a: b}", "conda.yaml: dependencies must be a list, not dict"),
        ("dependencies: [{pip: numpy}]", "conda.yaml: pip must be a list, not str"),
    ],
)
def test_what_is_wrong_in_conda_is_named(text: str, says: str) -> None:
    with pytest.raises(ProjectError) as caught:
        conda(text)
    assert says in str(caught.value)
