"""Where an MLproject is read otherwise than by MLflow 3.17.2, and why. docs/projects.md has them as a table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A project's directory and what is asked of it."""

    files: frozenset[str]
    document: Any
    """What the MLproject file holds; `ABSENT` where there is no file."""

    entry_point: str
    given: dict[str, str]

    @property
    def entry(self) -> Any:
        """The entry point as it is written, where there is one."""
        points = self.document.get("entry_points") if isinstance(self.document, dict) else None
        return points.get(self.entry_point) if isinstance(points, dict) else None

    @property
    def command(self) -> str:
        """The command as it is written, where there is one."""
        found = self.entry.get("command") if isinstance(self.entry, dict) else None
        return found if isinstance(found, str) else ""

    @property
    def parameters(self) -> dict[Any, Any]:
        """The parameters as they are written, where there are any."""
        found = self.entry.get("parameters") if isinstance(self.entry, dict) else None
        return found if isinstance(found, dict) else {}


ABSENT = object()


@dataclass(frozen=True)
class Outcome:
    """A command, or a refusal; `crashed` where the refusal is a Python error of another kind than MLflow's own."""

    command: str | None = None
    refusal: str = ""
    crashed: bool = False


Predicate = Callable[[Case, Outcome, Outcome], bool]


@dataclass(frozen=True)
class Difference:
    """One difference: what MLflow does, what Modelyard does, why, and whether an outcome is an instance of it."""

    what: str
    mlflow: str
    here: str
    applies: Predicate = field(compare=False)


def _says(*patterns: str) -> Predicate:
    def applies(case: Case, theirs: Outcome, ours: Outcome) -> bool:
        return any(re.search(pattern, ours.refusal) for pattern in patterns)

    return applies


def _crash_is_told(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return theirs.crashed and ours.command is None


def _empty(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    document = case.document
    if not theirs.crashed or document is ABSENT:
        return False
    points = (document or {}).get("entry_points", {}) if isinstance(document, dict | None) else {}
    entries = points.values() if isinstance(points, dict) else []
    return document is None or points is None or any(_has_empty(entry) for entry in entries)


def _has_empty(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    parameters = entry.get("parameters", {})
    return parameters is None or (isinstance(parameters, dict) and None in parameters.values())


def _odd_names(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    names = [str(name) for name in case.parameters]
    return theirs.crashed and any(f"{{{name}}}" in case.command and not name.isidentifier() for name in names)


def _in_quotes(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    if theirs.command is None or ours.command is None:
        return False
    values = [*case.given.values(), *(str(d.get("default")) for d in case.parameters.values() if isinstance(d, dict))]
    return bool(set("'\"") & set(case.command)) and any(shlex.quote(value) != value for value in values)


def _after_a_block(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return bool(ours.command) and case.command.endswith("\n") and any(k not in case.parameters for k in case.given)


def _outside(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return bool(re.match(r"Got value (\.\.)?/.* no such file or directory was found", theirs.refusal))


def _scripts_name(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return ours.command is not None and bool(re.search(r"[{}]|^-", case.entry_point))


def _number_for_a_path(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return theirs.crashed and any(
        isinstance(declared, dict)
        and declared.get("type") in ("path", "uri")
        and not isinstance(declared.get("default", ""), str)
        for declared in case.parameters.values()
    )


DIFFERENCES = (
    Difference(
        "type `int`, `float`",
        "any value is taken",
        "checked: `Expected int for parameter n but got '1.5'`",
        _says(r"^Expected (int|float) for parameter"),
    ),
    Difference(
        'a placeholder inside quotes, as in `--note "{note}"`, and a value with spaces, quotes or `$(…)`',
        "the value falls apart or has quotes too many, and what is in `$(…)` is run",
        "the program gets the value as it is",
        _in_quotes,
    ),
    Difference(
        "one in backquotes, arithmetic, `${…}`, `$'…'`, here-documents, comments, or behind `$` or a backslash",
        "the shell evaluates the value",
        "only values are taken that need no quotes; the refusal names the place",
        _says(r"command cannot be filled in with parameter"),
    ),
    Difference(
        "`{x!r}`, `{x:>9}`, `{x.upper}`, `{x[0]}` in a command",
        "evaluated by Python as a format",
        "refused; names alone are filled in",
        _says(r"asks for a format", r"it has \{.*[.\[].*\}, which is no parameter"),
    ),
    Difference(
        "a parameter whose name is a number or has dots or spaces, as in `{learning.rate}`",
        "a Python error",
        "filled in",
        _odd_names,
    ),
    Difference(
        "undeclared parameters after a command that is a YAML block, with a line break at its end",
        "a command of their own, which is not found",
        "appended to the command; in order of their names",
        _after_a_block,
    ),
    Difference(
        "an empty MLproject, `entry_points:` or `parameters:` with nothing behind it, a parameter without a type",
        "a Python error",
        "nothing is declared; the type is `string`",
        _empty,
    ),
    Difference(
        "what does not fit the format: a list for a mapping, no `command`, YAML that cannot be read",
        "a Python error",
        "refused with the field's name",
        _crash_is_told,
    ),
    Difference(
        "a command of blanks",
        "does nothing",
        "refused",
        _says(r"command is missing"),
    ),
    Difference(
        "a number as default of a `path` or `uri`",
        "a Python error",
        "taken as the text that it is",
        _number_for_a_path,
    ),
    Difference(
        "a script as entry point that is not there",
        "the run fails",
        "refused before anything is made",
        _says(r"^The project has no file"),
    ),
    Difference(
        "a script whose name has braces or begins with a dash",
        "a Python error, or an option of Python",
        "run",
        _scripts_name,
    ),
    Difference(
        "an R script with a name of other characters than letters, digits and `@%+=:,./-_`",
        "part of it is read as R or by the shell",
        "refused",
        _says(r"cannot be run by R"),
    ),
    Difference(
        "`conda_env` or `python_env` that names a directory, or a file outside the project",
        "taken",
        "refused: the environment's content is the project's",
        _says(r"^Project specified (conda environment|python_env) file .*, but no such file was found"),
    ),
    Difference(
        "a `path` outside the project, or through a link or a submodule",
        "looked for on the machine that runs `mlflow run`",
        "taken as it is: it may be on a volume of the trial",
        _outside,
    ),
    Difference(
        "an empty value for a `path`",
        "an empty directory",
        "refused: no such file or directory",
        _says(r"^Got value  for parameter"),
    ),
    Difference(
        "a `path` with another scheme than `http`, `https`, `s3`, `runs`, `models`, `mlflow-artifacts`",
        "fetched, where the libraries are installed",
        "refused; type `uri` gives it to the program",
        _says(r"cannot be fetched; "),
    ),
    Difference(
        "`docker_env`: volumes or variables that Docker or Kubernetes would refuse",
        "Docker refuses them, or a Python error",
        "refused before anything is made",
        _says(r"was invalid: docker_env\."),
    ),
    Difference(
        "values of more than 6,000 characters, NUL characters, commands over 128 KiB, an MLproject over 64 KiB",
        "cut when they are logged; or the program cannot be started",
        "refused",
        _says(r"exceeds MLflow's limit", r"NUL character", r"longer than 128 KiB", r"has more than 65,536"),
    ),
    Difference(
        "a default that is a list or a mapping of more than a thousand values",
        "written down, however long",
        "refused",
        _says(r"of very many values"),
    ),
    Difference(
        "`databricks_spark_job`",
        "needs Databricks",
        "refused",
        _says(r"needs Databricks"),
    ),
)
