"""Reads a project's directory: its MLproject file, or what is found where there is none.

Format: https://mlflow.org/docs/latest/ml/projects/. Where MLflow has words for a fault
(`mlflow/projects/_project_spec.py`), the messages here begin with them. docs/projects.md lists what is read otherwise.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

import yaml

from modelyard.api.project_files import Directory
from modelyard.api.reasons import Reason
from modelyard.projects import docker

MLPROJECT = "MLproject"
_SCRIPTS = {".py": "python", ".sh": "bash"}
_LISTED = 20
_DEFAULT_VALUES = 1000
_TEXT_LIMIT = 1 << 16
"""PyYAML reads some 20,000 characters in a second."""


class ProjectError(Exception):
    """The project cannot be run as asked; `reason` says which kind of fault it is, the message what to correct."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EnvironmentKind(StrEnum):
    """The environment fields of an MLproject."""

    CONDA = "conda_env"
    PYTHON = "python_env"
    DOCKER = "docker_env"


_DEFAULT_FILES = (("python_env.yaml", EnvironmentKind.PYTHON), ("conda.yaml", EnvironmentKind.CONDA))


@dataclass(frozen=True)
class Environment:
    """What the project says about the environment of its entry points: a file of its own, or a Docker image.

    `docker_environment` has the variables in their order: name and value, or name and None where the value is taken
    over from around the project.
    """

    kind: EnvironmentKind
    file: str = ""
    image: str = ""
    docker_environment: tuple[tuple[str, str | None], ...] = ()
    docker_volumes: tuple[docker.DockerVolume, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """One typed parameter; a type that MLflow does not know counts as a string, as it does there."""

    name: str
    type: str = "string"
    default: str | None = None


@dataclass(frozen=True)
class EntryPoint:
    """A command with typed parameters; other parameters are appended to it as `--key value`.

    `files` are the paths of the project's files, where they are known: a local path among the values has to be there.
    """

    name: str
    command: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    files: frozenset[str] | None = None


@dataclass(frozen=True)
class Project:
    """A project's directory: its entry points and its environment."""

    name: str
    entry_points: Mapping[str, EntryPoint]
    environment: Environment | None
    files: frozenset[str]
    has_mlproject: bool = True

    def entry_point(self, name: str) -> EntryPoint:
        """Return the entry point, or the script of that name as one. Raises `ProjectError`."""
        if name in self.entry_points:
            return self.entry_points[name]
        suffix = posixpath.splitext(name)[1]
        if suffix in _SCRIPTS or suffix == ".R":
            if has_file(self.files, name) is False:
                raise ProjectError(
                    Reason.ENTRY_POINT_NOT_FOUND, f"The project has no file {name}; it holds {_listed(self.files)}."
                )
            return EntryPoint(name, _script(name, suffix), files=self.files)
        message = (
            f"Could not find {name} among entry points {list(self.entry_points)} or interpret {name} as a runnable "
            f"script. Supported script file extensions: {list(_SCRIPTS)}"
        )
        if self.has_mlproject:
            raise ProjectError(Reason.ENTRY_POINT_NOT_FOUND, message)
        raise ProjectError(
            Reason.PROJECT_INVALID,
            f"{message}. The project's directory has no {MLPROJECT} file; it holds {_listed(self.files)}. Name one of "
            f"its scripts as entry point, or add an {MLPROJECT} file.",
        )


def find_mlproject(names: Collection[str]) -> str | None:
    """Return the name of the MLproject file among a directory's names; its case does not matter."""
    return next((name for name in sorted(names) if name.lower() == MLPROJECT.lower()), None)


def parse(directory: Directory) -> Project:
    """Return the project of a directory. Raises `ProjectError`."""
    name = find_mlproject(directory.paths)
    if name and name not in directory.texts:
        raise _invalid(f"{name} cannot be read: it is no text, or too long")
    if name and len(directory.texts[name]) > _TEXT_LIMIT:
        raise _invalid(f"{name} has more than {_TEXT_LIMIT:,} characters: move what is long into scripts")
    document = _load(directory.texts[name]) if name else {}
    if "databricks_spark_job" in document:
        raise _invalid("databricks_spark_job needs Databricks: write the entry points under entry_points")
    environment = _environment(document, directory.paths)
    entry_points = _mapping(document.get("entry_points"), "entry_points")
    title = document.get("name")
    return Project(
        name=str(title) if isinstance(title, str | int | float) else "",
        entry_points={str(key): _entry_point(str(key), value, directory.paths) for key, value in entry_points.items()},
        environment=environment,
        files=directory.paths,
        has_mlproject=name is not None,
    )


def has_file(files: Collection[str], path: str) -> bool | None:
    """Say whether a project has a file or a directory at a relative path.

    None: it cannot be told, for the path leads out of the project, or through a link or a submodule.
    """
    wanted = posixpath.normpath(path)
    if wanted.startswith(("/", "../")) or wanted in (".", ".."):
        return None
    if wanted in files or any(name.startswith(f"{wanted}/") for name in files):
        return True
    parts = wanted.split("/")
    return None if any("/".join(parts[:count]) in files for count in range(1, len(parts))) else False


def _listed(files: Collection[str]) -> str:
    names = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in files})
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "nothing") + more


def _script(name: str, suffix: str) -> str:
    if suffix == ".R":
        if shlex.quote(name) != name:
            raise ProjectError(
                Reason.ENTRY_POINT_NOT_FOUND,
                f"{name!r} cannot be run by R: rename it to letters, digits, dots, dashes and underscores",
            )
        return f"Rscript -e \"mlflow::mlflow_source('{name}')\" --args"
    # A name that begins with a dash would be an option. The formatter leaves a doubled brace single.
    path = f"./{name}" if name.startswith("-") else name
    return f"{_SCRIPTS[suffix]} {shlex.quote(path)}".replace("{", "{{").replace("}", "}}")


def _load(text: str) -> dict[Any, Any]:
    try:
        document = yaml.safe_load(text)
    except RecursionError as error:
        raise _invalid(f"{MLPROJECT} is nested too deeply") from error
    # PyYAML lets these through where a value does not fit its tag, as in `!!int x` or a 13th month.
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _invalid(f"{MLPROJECT} is not valid YAML: {' '.join(str(error).split())}") from error
    return _mapping(document, MLPROJECT)


def _mapping(value: Any, where: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(f"{where} must be a mapping, not {type(value).__name__}")
    return value


def _entry_point(name: str, value: Any, files: frozenset[str]) -> EntryPoint:
    where = f"entry_points.{name}"
    body = _mapping(value, where)
    command = body.get("command")
    if not isinstance(command, str) or not command.strip():
        raise _invalid(f"{where}.command is missing: give the shell command to run")
    if "\0" in command:
        raise _invalid(f"{where}.command has a NUL character: remove it")
    declared = _mapping(body.get("parameters"), f"{where}.parameters")
    parameters = {str(key): _parameter(str(key), item, where) for key, item in declared.items()}
    return EntryPoint(name, command, parameters, files)


def _parameter(name: str, value: Any, where: str) -> Parameter:
    if isinstance(value, str):
        return Parameter(name, value)
    where = f"{where}.parameters.{name}"
    body = _mapping(value, where)
    kind = body.get("type", "string")
    if isinstance(kind, dict | list | set):
        raise _invalid(f"{where}.type must be a word, e.g. string, float, path or uri")
    return Parameter(name, "string" if kind is None else str(kind), _default(body.get("default"), f"{where}.default"))


def _default(value: Any, where: str) -> str | None:
    """Return a default as MLflow writes it, which is as Python does: `True`, `[1, 2]`."""
    if value is None:
        return None
    # A few lines of YAML can make a list that is too long to be written down.
    left = [value]
    for _ in range(_DEFAULT_VALUES):
        if not left:
            return str(value)
        item = left.pop()
        if isinstance(item, list | tuple | set):
            left += item
        elif isinstance(item, dict):
            left += [*item.keys(), *item.values()]
        elif not isinstance(item, str | int | float | bytes | date | None):
            break
    raise _invalid(f"{where} must be a string or a number, not a {type(value).__name__} of very many values")


def _environment(document: Mapping[str, Any], files: Collection[str]) -> Environment | None:
    given = [kind for kind in EnvironmentKind if kind in document]
    if len(given) > 1:
        raise _invalid(
            f"Project cannot contain multiple environment fields: {[str(kind) for kind in given]}; keep one of them"
        )
    # An empty field counts as none, as in MLflow.
    if not given or not document[given[0]]:
        return next((Environment(found, file=name) for name, found in _DEFAULT_FILES if name in files), None)
    kind, value = given[0], document[given[0]]
    if kind is EnvironmentKind.DOCKER:
        return _docker(_mapping(value, kind))
    if not isinstance(value, str):
        raise _invalid(f"{kind} must be a file's name, not {type(value).__name__}")
    file = posixpath.normpath(value)
    if file not in files:
        what = "conda environment" if kind is EnvironmentKind.CONDA else "python_env"
        raise _invalid(
            f"Project specified {what} file {value}, but no such file was found; the project holds {_listed(files)}."
        )
    return Environment(kind, file=file)


def _docker(body: Mapping[str, Any]) -> Environment:
    try:
        return Environment(
            EnvironmentKind.DOCKER,
            image=docker.image(body.get("image")),
            docker_environment=docker.environment(body.get("environment")),
            docker_volumes=docker.volumes(body.get("volumes")),
        )
    except ValueError as error:
        raise _invalid(f"Project configuration ({MLPROJECT} file) was invalid: {error}") from error


def _invalid(message: str) -> ProjectError:
    return ProjectError(Reason.PROJECT_INVALID, message)
