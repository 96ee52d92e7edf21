"""Reads an MLproject file.

Format: https://mlflow.org/docs/latest/ml/projects/. Where MLflow has words for a fault
(`mlflow/projects/_project_spec.py`), the messages here use them.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml

from modelyard.api.reasons import Reason

MLPROJECT = "MLproject"
_SCRIPTS = {".py": "python", ".sh": "bash"}


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
    """What the project says about the environment of its entry points: a file, or a Docker image."""

    kind: EnvironmentKind
    file: str = ""
    image: str = ""
    unsupported: tuple[str, ...] = ()
    """Fields of `docker_env` that are set and not applied."""


@dataclass(frozen=True)
class Parameter:
    """One typed parameter; a type that MLflow does not know counts as a string, as it does there."""

    name: str
    type: str = "string"
    default: str | None = None


@dataclass(frozen=True)
class EntryPoint:
    """A command with typed parameters; other parameters are appended to it as `--key value`."""

    name: str
    command: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


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
        suffix = name[name.rfind(".") :] if "." in name else ""
        if suffix in _SCRIPTS:
            if "/" not in name and name not in self.files:
                raise ProjectError(Reason.ENTRY_POINT_NOT_FOUND, f"The project has no file {name}.")
            # A script's name goes to the shell; the formatter leaves a doubled brace single.
            quoted = shlex.quote(name).replace("{", "{{").replace("}", "}}")
            return EntryPoint(name, f"{_SCRIPTS[suffix]} {quoted}")
        if not self.has_mlproject:
            held = ", ".join(sorted(self.files)[:20]) or "nothing"
            raise ProjectError(
                Reason.PROJECT_INVALID, f"The project's directory has no {MLPROJECT} file; it holds {held}."
            )
        raise ProjectError(
            Reason.ENTRY_POINT_NOT_FOUND,
            f"Could not find {name} among entry points {list(self.entry_points)} or interpret {name} as a runnable "
            f"script. Supported script file extensions: {list(_SCRIPTS)}",
        )


def find_mlproject(names: Collection[str]) -> str | None:
    """Return the name of the MLproject file among a directory's names; its case does not matter."""
    return next((name for name in sorted(names) if name.lower() == MLPROJECT.lower()), None)


def parse(text: str | None, names: Collection[str]) -> Project:
    """Return the project of a directory that holds files called `names` and an MLproject of this text, if any.

    Raises `ProjectError`.
    """
    document = _load(text) if text is not None else {}
    fields = [kind for kind in EnvironmentKind if document.get(kind)]
    if len(fields) > 1:
        raise _invalid(f"Project cannot contain multiple environment fields: {[str(kind) for kind in fields]}")
    entry_points = _mapping(document.get("entry_points"), "entry_points")
    name = document.get("name")
    return Project(
        name=str(name) if name is not None else "",
        entry_points={str(key): _entry_point(str(key), value) for key, value in entry_points.items()},
        environment=_environment(document, fields[0] if fields else None, names),
        files=frozenset(names),
        has_mlproject=text is not None,
    )


def _load(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _invalid(f"{MLPROJECT} is not valid YAML: {' '.join(str(error).split())}") from error
    return _mapping(document, MLPROJECT)


def _mapping(value: Any, where: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(f"{where} must be a mapping, not {type(value).__name__}")
    return value


def _entry_point(name: str, value: Any) -> EntryPoint:
    where = f"entry_points.{name}"
    body = _mapping(value, where)
    command = body.get("command")
    if not isinstance(command, str) or not command.strip():
        raise _invalid(f"{where}.command is missing")
    declared = _mapping(body.get("parameters"), f"{where}.parameters")
    parameters = {str(key): _parameter(str(key), item, where) for key, item in declared.items()}
    return EntryPoint(name, command, parameters)


def _parameter(name: str, value: Any, where: str) -> Parameter:
    if isinstance(value, str):
        return Parameter(name, value)
    body = _mapping(value, f"{where}.parameters.{name}")
    kind = body.get("type", "string")
    default = body.get("default")
    if not isinstance(kind, str):
        raise _invalid(f"{where}.parameters.{name}.type must be a string")
    if default is not None and not isinstance(default, str | int | float):
        raise _invalid(f"{where}.parameters.{name}.default must be a string or a number")
    return Parameter(name, kind, None if default is None else str(default))


def _environment(
    document: Mapping[str, Any], kind: EnvironmentKind | None, names: Collection[str]
) -> Environment | None:
    if kind is None:
        return next((Environment(found, file=name) for name, found in _DEFAULT_FILES if name in names), None)
    if kind is EnvironmentKind.DOCKER:
        return _docker(_mapping(document[kind], kind))
    file = document[kind]
    if not isinstance(file, str):
        raise _invalid(f"{kind} must be a file's name")
    if "/" not in file and file not in names:
        what = "conda environment" if kind is EnvironmentKind.CONDA else "python_env"
        raise _invalid(f"Project specified {what} file {file}, but no such file was found.")
    return Environment(kind, file=file)


def _docker(body: Mapping[str, Any]) -> Environment:
    image = body.get("image")
    if not isinstance(image, str) or not image:
        raise _invalid(
            f"Project configuration ({MLPROJECT} file) was invalid: Docker environment specified but no image "
            "attribute found."
        )
    unsupported = tuple(f"docker_env.{name}" for name in ("volumes", "environment") if body.get(name))
    return Environment(EnvironmentKind.DOCKER, image=image, unsupported=unsupported)


def _invalid(message: str) -> ProjectError:
    return ProjectError(Reason.PROJECT_INVALID, message)
