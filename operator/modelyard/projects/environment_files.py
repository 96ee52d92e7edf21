"""Reads what a project says of its libraries: python_env.yaml, conda.yaml, and the requirement files they include.

Formats: https://mlflow.org/docs/latest/ml/projects/#project-environments,
https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html#creating-an-environment-file-manually,
https://pip.pypa.io/en/stable/reference/requirements-file-format/.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from modelyard.api.project_files import Directory
from modelyard.api.reasons import Reason
from modelyard.projects.mlproject import Environment, EnvironmentKind, ProjectError
from modelyard_environments.recipe import CONDA, IMAGE, PYTHON, Recipe

_COMMENT = re.compile(r"(^|\s)#.*$")
_INCLUDE = re.compile(r"(?:-r|--requirements?|-c|--constraints?)(?:\s*=\s*|\s+|(?<=-[rc]))(?P<path>\S.*)$")
_LOCAL = re.compile(r"(-e|--editable)\b|\.{0,2}/|\.$|file:|(?!\w+\+?://)(?!.*@ ).*\.(whl|tar\.gz|zip)$")
_PYTHON_VERSION = re.compile(r"\d+(\.\d+){1,2}$")
_CONDA_PYTHON = re.compile(r"(?:[\w.-]+::)?python\s*={1,2}\s*(?P<version>\d+(\.\d+){0,2})(\.\*|=.*)?$")
_MAX_FILES = 100


def recipe_of(environment: Environment | None, directory: Directory) -> Recipe:
    """Return what a project's environment is made of. Raises `ProjectError`, naming file and line."""
    if environment is None or environment.kind is EnvironmentKind.DOCKER:
        return Recipe(IMAGE)
    document = _load(environment.file, directory)
    if environment.kind is EnvironmentKind.PYTHON:
        return _python(environment.file, document, directory)
    return _conda(environment.file, document, directory)


def _python(name: str, document: Mapping[str, Any], directory: Directory) -> Recipe:
    version = document.get("python")
    # YAML reads 3.10 as a number and forgets the zero: MLflow asks for quotes as well.
    if version is not None and not (isinstance(version, str) and _PYTHON_VERSION.match(version.strip())):
        hint = " (in quotes: YAML reads 3.10 as 3.1)" if isinstance(version, float) else ""
        raise _invalid(f"{name}: python must be a version such as '3.10'{hint}, not {version!r}")
    build = tuple(_strings(document.get("build_dependencies"), f"{name}: build_dependencies"))
    lines = tuple(_strings(document.get("dependencies"), f"{name}: dependencies"))
    folder = posixpath.dirname(name)
    return Recipe(
        PYTHON,
        python=version.strip() if version is not None else None,
        build=build,
        requirements=lines,
        files=_included(name, folder, (*build, *lines), directory),
        folder=folder,
        origin=name,
    )


def _conda(name: str, document: Mapping[str, Any], directory: Directory) -> Recipe:
    pip: list[str] = []
    packages: list[str] = []
    entries = document.get("dependencies")
    if not isinstance(entries, list | None):
        raise _invalid(f"{name}: dependencies must be a list, not {type(entries).__name__}")
    for number, entry in enumerate(entries or (), start=1):
        if isinstance(entry, str):
            packages.append(" ".join(entry.split()))
        elif isinstance(entry, dict) and list(entry) == ["pip"]:
            pip += _strings(entry["pip"], f"{name}: pip")
        else:
            raise _invalid(f"{name}: dependencies[{number}] must be a package or `pip:` with a list, not {entry!r}")
    folder = posixpath.dirname(name)
    version = next((match["version"] for each in packages if (match := _CONDA_PYTHON.match(each))), None)
    return Recipe(
        CONDA,
        python=version,
        requirements=tuple(pip),
        files=_included(name, folder, pip, directory),
        folder=folder,
        channels=tuple(_strings(document.get("channels"), f"{name}: channels")) or ("conda-forge",),
        packages=tuple(packages),
        origin=name,
    )


def _load(name: str, directory: Directory) -> Mapping[str, Any]:
    text = directory.texts.get(posixpath.normpath(name))
    if text is None:
        raise _invalid(f"the project has no file {name}")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _invalid(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise _invalid(f"{name} must be a mapping, not {type(document).__name__}")
    return document


def _strings(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list | None):
        raise _invalid(f"{where} must be a list, not {type(value).__name__}")
    for number, each in enumerate(value or (), start=1):
        if not isinstance(each, str):
            raise _invalid(f"{where}[{number}] must be a string, not {each!r}")
        if each.strip():
            yield each.strip()


def _included(name: str, folder: str, lines: tuple[str, ...] | list[str], directory: Directory) -> dict[str, str]:
    """Return the texts of the files that the lines include, and those include, by path in the project."""
    found: dict[str, str] = {}
    wanted = list(_paths(name, folder, lines))
    while wanted:
        path, where = wanted.pop()
        if path in found:
            continue
        if path not in directory.texts:
            raise _invalid(f"{where}: the project has no file {path}")
        if len(found) == _MAX_FILES:
            raise _invalid(f"{name} includes more than {_MAX_FILES} files")
        found[path] = directory.texts[path]
        wanted += _paths(path, posixpath.dirname(path), found[path].splitlines())
    return dict(sorted(found.items()))


def _paths(name: str, folder: str, lines: tuple[str, ...] | list[str]) -> Iterator[tuple[str, str]]:
    """Yield each file that the lines include, and where that is said."""
    for number, physical in enumerate(lines, start=1):
        line = _COMMENT.sub("", physical).strip()
        where = f"{name} line {number}" if not name.endswith((".yaml", ".yml")) else f"{name}: {line!r}"
        if match := _INCLUDE.match(line):
            path = match["path"].strip().strip("'\"")
            if path.startswith(("http://", "https://")):
                continue
            resolved = posixpath.normpath(posixpath.join(folder, path))
            if resolved.startswith(("../", "/")) or resolved == "..":
                raise _invalid(f"{where}: {path} is not in the project")
            yield resolved, where
        elif _LOCAL.match(line):
            raise _invalid(
                f"{where}: {line} is installed from the project's own files, which is not done here: trials have them "
                "in their working directory; build a wheel and name it by its URL where it must be installed"
            )


def _invalid(message: str) -> ProjectError:
    return ProjectError(Reason.PROJECT_INVALID, message)
