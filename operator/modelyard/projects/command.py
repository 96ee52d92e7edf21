"""Turns an entry point and parameters into what is logged, what is fetched, and the shell command that is run.

As MLflow's `EntryPoint.compute_parameters` and `compute_command` (`mlflow/projects/_project_spec.py`) do, with their
words for what is wrong; docs/projects.md lists the differences.
"""

from __future__ import annotations

import posixpath
import re
import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import url2pathname

from modelyard.api.reasons import Reason
from modelyard.projects import shell
from modelyard.projects.mlproject import EntryPoint, Environment, Parameter, ProjectError, has_file

WORKSPACE = "/workspace"
DOWNLOADS = "/workspace-data"

FETCHED = ("http", "https", "s3", "runs", "models", "mlflow-artifacts")
"""Schemes of the URIs that a `path` parameter may be."""

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)
_NAME = re.compile(r"[/\w.\- :]{1,250}")
"""What MLflow takes as the name of a parameter that is logged (`mlflow/utils/validation.py`)."""

_VALUE_LIMIT = 6000
_COMMAND_LIMIT = 128 << 10
"""Bytes of one argument of a program under Linux, with the NUL that ends it."""


@dataclass(frozen=True)
class Download:
    """A `path` parameter that is a URI: what it names is put below `directory` before the command is run."""

    name: str
    uri: str
    directory: str


@dataclass(frozen=True)
class Invocation:
    """What one run of an entry point is.

    `parameters` are logged: with their defaults, as they were given. `command` is for `bash -c`; `downloads` come
    before it. `paths` are the absolute paths of files or directories of the project that have to be there.
    """

    parameters: Mapping[str, str]
    command: str
    downloads: tuple[Download, ...] = ()
    paths: tuple[str, ...] = ()


def invoke(
    entry_point: EntryPoint,
    given: Mapping[str, str],
    workspace: str = WORKSPACE,
    downloads: str = DOWNLOADS,
    mounted: Collection[str] = (),
) -> Invocation:
    """Return the invocation with the given parameters, of a project whose files are in the directory `workspace`.

    Those that the entry point does not declare are appended to its command as `--key value`, by name. `mounted` are
    absolute paths where volumes are in the program's container: what is below them is not looked for.
    Raises `ProjectError` where one is missing or ill-typed, or where the command asks for something else than its
    parameters.
    """
    missing = [
        name for name, parameter in entry_point.parameters.items() if name not in given and parameter.default is None
    ]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise _invalid(
            f"No value given for missing parameters: {names}. Set them in spec.parameters or spec.sweep.parameters, or "
            f"give them a default in entry_points.{entry_point.name}.parameters"
        )
    declared = {name: given.get(name, parameter.default or "") for name, parameter in entry_point.parameters.items()}
    extra = {name: value for name, value in sorted(given.items()) if name not in declared}
    for name, value in {**declared, **extra}.items():
        _check(entry_point.parameters.get(name) or Parameter(name), value)
    values, fetched, paths = dict(declared), [], []
    for position, parameter in enumerate(entry_point.parameters.values()):
        if parameter.type != "path":
            continue
        value = declared[parameter.name]
        local = _local_path(parameter.name, value)
        if local is None:
            download = Download(parameter.name, value, f"{downloads}/param_{position}")
            values[parameter.name] = posixpath.join(download.directory, downloaded_name(value))
            fetched.append(download)
            continue
        values[parameter.name] = absolute = posixpath.normpath(posixpath.join(workspace, local))
        if _is_below(absolute, workspace) and not any(_is_below(absolute, mount) for mount in mounted):
            _check_exists(entry_point, parameter.name, value, posixpath.relpath(absolute, workspace))
            paths.append(absolute)
    command = _command(entry_point, values, extra)
    return Invocation({**declared, **extra}, command, tuple(fetched), tuple(paths))


def downloaded_name(uri: str) -> str:
    """Return the name under which what a URI names is put into its directory: the last part of its path."""
    segments = [part for part in urlsplit(uri).path.split("/") if part not in ("", ".", "..")]
    return segments[-1] if segments else "data"


def copied_variables(environment: Environment, available: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `docker_env.environment`, those without a value from `available`.

    Raises `ProjectError` where one is not there.
    """
    found = {}
    for name, value in environment.docker_environment:
        if value is None and name not in available:
            wanted = ", ".join(name for name, _ in environment.docker_environment)
            raise ProjectError(
                Reason.PROJECT_INVALID,
                f"This project expects the {wanted} environment variables to be set on the machine running the "
                f"project, but {name} was not set. Please ensure all expected environment variables are set: "
                f"add {name} to spec.template.env",
            )
        found[name] = available[name] if value is None else value
    return found


def _check(parameter: Parameter, value: str) -> None:
    name = parameter.name
    if not _NAME.fullmatch(name) or posixpath.normpath(name) != name or name.startswith(("/", "..")):
        raise _invalid(
            f"Invalid value {name[:250]!r} for parameter 'key' supplied: Names may only contain alphanumerics, "
            "underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/), no more than 250 of them"
        )
    if "\0" in value:
        raise _invalid(f"The value of parameter {name} has a NUL character, which no program can be given: remove it")
    if len(value) > _VALUE_LIMIT:
        raise _invalid(
            f"The value of parameter {name} has length {len(value)}, which exceeds MLflow's limit of {_VALUE_LIMIT}: "
            "put it into a file and give the file's path"
        )
    if parameter.type == "int" and not _INT.fullmatch(value):
        raise _invalid(f"Expected int for parameter {name} but got {value!r}: give digits only, such as 100")
    if parameter.type == "float" and not _FLOAT.fullmatch(value):
        raise _invalid(f"Expected float for parameter {name} but got {value!r}: give a number, such as 0.1 or 1e-3")
    if parameter.type == "uri" and not _scheme(name, value):
        raise _invalid(f"Expected URI for parameter {name} but got {value}: begin it with its scheme, such as s3://")


def _scheme(name: str, value: str) -> str:
    try:
        return urlsplit(value).scheme
    except ValueError as error:
        raise _invalid(f"Expected URI for parameter {name} but got {value}: {error}") from error


def _local_path(name: str, value: str) -> str | None:
    """Return the path that a `path` parameter's value is, or None where it is a URI to fetch."""
    scheme = _scheme(name, value)
    if scheme == "file" and not urlsplit(value).netloc:
        return url2pathname(urlsplit(value).path)
    if scheme and scheme not in FETCHED:
        raise _invalid(
            f"Got value {value} for parameter {name}, but {scheme}: cannot be fetched; {', '.join(FETCHED)} can. "
            "Declare it as uri to give it to the program as it is"
        )
    return None if scheme else url2pathname(value)


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _check_exists(entry_point: EntryPoint, name: str, value: str, path: str) -> None:
    if not value or (entry_point.files is not None and has_file(entry_point.files, path) is False):
        raise _invalid(
            f"Got value {value} for parameter {name}, but no such file or directory was found: add it to the project, "
            "or give the URI or the absolute path of a volume where it is"
        )


def _command(entry_point: EntryPoint, values: Mapping[str, str], extra: Mapping[str, str]) -> str:
    text, names = _marked(entry_point, values)
    places = [(f"parameter {name}", values[name]) for name in names]
    if extra:
        # Behind a line break, which a block of YAML ends with, they would be a command of their own.
        text = text.rstrip("\n") + f" --{shell.MARK} {shell.MARK}" * len(extra)
        places += [(f"parameter {name}", part) for name, value in extra.items() for part in (name, value)]
    try:
        command = shell.fill(text, [value for _, value in places])
    except shell.Unfit as error:
        where = places[error.index][0]
        raise _invalid(
            f"entry_points.{entry_point.name}.command cannot be filled in with {where}: {error}. Place it as a word of "
            "its own"
        ) from error
    if len(command.encode(errors="surrogateescape")) >= _COMMAND_LIMIT:
        raise _invalid(
            f"The command of entry point {entry_point.name} would be longer than {_COMMAND_LIMIT >> 10} KiB, which no "
            "program can be given: put long values into files"
        )
    return command


def _marked(entry_point: EntryPoint, values: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the command with a mark in each place of a value, and the names of their parameters.

    Names only, unlike `str.format`: an attribute or a width in a command would be evaluated in the operator's process.
    """
    text, names = [], []
    try:
        for literal, name, spec, conversion in string.Formatter().parse(entry_point.command):
            text.append(literal)
            if name is None:
                continue
            if name not in values:
                known = ", ".join(values) or "none"
                raise ValueError(
                    f"it has {{{name}}}, which is no parameter of the entry point (those are: {known}); "
                    "declare it, or write {{ and }} for braces of the command's own"
                )
            if spec not in ("", "s") or conversion not in (None, "s"):
                raise ValueError(f"{{{name}}} asks for a format: write the name alone")
            text.append(shell.MARK)
            names.append(name)
    except ValueError as error:
        message = f"entry_points.{entry_point.name}.command cannot be filled in: {error}"
        raise ProjectError(Reason.PROJECT_INVALID, message) from error
    return "".join(text), names


def _invalid(message: str) -> ProjectError:
    return ProjectError(Reason.PARAMETER_INVALID, message)
