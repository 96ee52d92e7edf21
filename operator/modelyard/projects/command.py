"""Turns an entry point and parameters into the values that are logged and the shell command that is run."""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelyard.api.reasons import Reason
from modelyard.projects.mlproject import EntryPoint, Parameter, ProjectError

_INT = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True)
class Invocation:
    """What one run of an entry point is: the parameters with their defaults, and the command for `bash -c`."""

    parameters: Mapping[str, str]
    command: str


def invoke(entry_point: EntryPoint, given: Mapping[str, str]) -> Invocation:
    """Return the invocation with the given parameters.

    Those that the entry point does not declare are appended to its command as `--key value`. Raises `ProjectError`
    where one is missing or ill-typed, or where the command asks for something else than its parameters.
    """
    missing = [
        name for name, parameter in entry_point.parameters.items() if name not in given and parameter.default is None
    ]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise ProjectError(Reason.PARAMETER_INVALID, f"No value given for missing parameters: {names}")
    declared = {name: given.get(name, parameter.default or "") for name, parameter in entry_point.parameters.items()}
    for name, value in declared.items():
        _check(entry_point.parameters[name], value)
    extra = {name: value for name, value in given.items() if name not in declared}
    words = [_fill(entry_point, declared)]
    words += [f"--{shlex.quote(name)} {shlex.quote(value)}" for name, value in sorted(extra.items())]
    return Invocation({**declared, **extra}, " ".join(words))


def _check(parameter: Parameter, value: str) -> None:
    if parameter.type == "int" and not _INT.fullmatch(value):
        raise _ill_typed(parameter, value)
    if parameter.type == "float" and not _is_float(value):
        raise _ill_typed(parameter, value)
    if parameter.type == "uri" and not urlsplit(value).scheme:
        raise ProjectError(Reason.PARAMETER_INVALID, f"Expected URI for parameter {parameter.name} but got {value}")


def _ill_typed(parameter: Parameter, value: str) -> ProjectError:
    message = f"Expected {parameter.type} for parameter {parameter.name} but got {value!r}"
    return ProjectError(Reason.PARAMETER_INVALID, message)


def _is_float(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _fill(entry_point: EntryPoint, values: Mapping[str, str]) -> str:
    """Put quoted values in the places of `{name}`.

    Names only, unlike `str.format`: an attribute, a width or a conversion in a command would be evaluated in the
    operator's process.
    """
    words = []
    try:
        for text, name, spec, conversion in string.Formatter().parse(entry_point.command):
            words.append(text)
            if name is None:
                continue
            if name not in values or spec or conversion:
                raise ValueError(f"it has {{{name}}}, which is no parameter of the entry point")
            words.append(shlex.quote(values[name]))
    except ValueError as error:
        message = f"entry_points.{entry_point.name}.command cannot be filled in: {error}"
        raise ProjectError(Reason.PROJECT_INVALID, message) from error
    return "".join(words)
