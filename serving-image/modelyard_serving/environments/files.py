"""Reads what a model says of its libraries: requirements.txt, or conda.yaml, and its Python version.

MLflow writes all three files beside each model: https://mlflow.org/docs/latest/ml/model/#additional-logged-files.
The format of requirements.txt is pip's: https://pip.pypa.io/en/stable/reference/requirements-file-format/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from modelyard_serving.errors import Reason, StartupError

REQUIREMENTS, CONDA, PYTHON = "requirements.txt", "conda.yaml", "python_env.yaml"
MAX_DEPTH = 5
_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTION = re.compile(r"(?P<name>-r|--requirement|-c|--constraint|-e|--editable)[\s=]*(?P<value>.*)")
_PER_REQUIREMENT = re.compile(r"\s+--(hash|config-settings?|global-option)[\s=]\S+")
_PLACE = re.compile(r"(\.{0,2}/|file:|https?://|git\+|hg\+|svn\+|bzr\+)|.*\.(whl|tar\.gz|zip)$")
_PYTHON_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


@dataclass(frozen=True)
class Line:
    """One line that installs something, or changes how."""

    text: str
    """As pip and uv take it; paths to other files are absolute."""
    requirement: Requirement | None = None
    """None: an option, or a package that is known by its place alone."""
    place: bool = False
    """Whether it names a file, directory or URL, so that its version cannot be compared."""

    @property
    def name(self) -> str | None:
        """The normalized name of the package."""
        return canonicalize_name(self.requirement.name) if self.requirement else None


@dataclass(frozen=True)
class Requirements:
    """All that a model says of its environment."""

    lines: tuple[Line, ...] = ()
    python: str | None = None
    """`3.11` or `3.11.7`; None: it does not say."""


def read(directory: Path) -> Requirements:
    """What the files of a model's directory say; nothing, where there are none.

    Raises StartupError(ModelInvalid), naming the file and the line that cannot be understood.
    """
    conda = _conda(directory)
    if (directory / REQUIREMENTS).is_file():
        lines = tuple(_file(directory, directory / REQUIREMENTS, 0))
    else:
        texts = enumerate(conda.get("pip", []), start=1)
        lines = tuple(each for number, text in texts for each in _line(directory, f"{CONDA}, pip", number, text, 0))
    return Requirements(lines, _python(directory, conda))


def parse(text: str, directory: Path = Path(), name: str = REQUIREMENTS) -> tuple[Line, ...]:
    """The lines of a requirements file that lies in `directory`. Raises StartupError(ModelInvalid)."""
    return tuple(_parse(text, directory, name, 0))


def _parse(text: str, directory: Path, name: str, depth: int) -> Iterator[Line]:
    logical, begin = "", 1
    for number, physical in enumerate(text.splitlines(), start=1):
        begin = begin if logical else number
        stripped = _COMMENT.sub("", physical).rstrip()
        if stripped.endswith("\\"):
            logical += stripped[:-1]
            continue
        yield from _line(directory, name, begin, logical + stripped, depth)
        logical = ""
    yield from _line(directory, name, begin, logical, depth)


def _file(directory: Path, path: Path, depth: int) -> Iterator[Line]:
    name = path.name
    if depth > MAX_DEPTH:
        raise _invalid(f"{name} includes itself")
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"{name} cannot be read: {error}") from error
    yield from _parse(text, directory, name, depth)


def _line(directory: Path, name: str, number: int, text: object, depth: int) -> Iterator[Line]:
    if not isinstance(text, str):
        raise _invalid(f"{name} line {number}: {text!r} is no text")
    text = text.strip()
    if not text:
        return
    if match := _OPTION.match(text):
        kind, value = match["name"].lstrip("-")[0], match["value"].strip()
        if kind == "e":
            yield Line(text, place=True)
            return
        included = (directory / value).resolve()
        if not included.is_relative_to(directory.resolve()) or not included.is_file():
            raise _invalid(f"{name} line {number}: {value!r} is no file of the model")
        if kind == "r":
            yield from _file(directory, included, depth + 1)
        else:
            yield Line(f"-c {included}")
    elif text.startswith("-"):
        yield Line(text)
    else:
        yield _requirement(name, number, text)


def _requirement(name: str, number: int, text: str) -> Line:
    bare = _PER_REQUIREMENT.sub("", text)
    try:
        requirement = Requirement(bare)
    except InvalidRequirement as error:
        if _PLACE.match(bare):
            return Line(text, _wheel(bare), place=True)
        problem = str(error).splitlines()[0]
        raise _invalid(f"{name} line {number}: {text[:200]!r} is no requirement: {problem}") from None
    return Line(text, requirement, place=requirement.url is not None)


def _wheel(place: str) -> Requirement | None:
    """A wheel's file name says what it is."""
    try:
        name, version, _, _ = parse_wheel_filename(place.rpartition("/")[2])
    except InvalidWheelFilename:
        return None
    return Requirement(f"{name}=={version}")


def _conda(directory: Path) -> dict[str, Any]:
    """`pip`: the pip part of conda.yaml; `python`: the version that it names."""
    document = _yaml(directory / CONDA)
    dependencies = document.get("dependencies") or []
    if not isinstance(dependencies, list):
        raise _invalid(f"{CONDA}: dependencies is no list")
    found: dict[str, Any] = {}
    for entry in dependencies:
        if isinstance(entry, dict) and isinstance(entry.get("pip"), list):
            found["pip"] = entry["pip"]
        elif isinstance(entry, str) and (match := re.match(r"python\s*=+\s*(\d[\d.]*)", entry)):
            found["python"] = match[1]
    return found


def _python(directory: Path, conda: dict[str, Any]) -> str | None:
    said = _yaml(directory / PYTHON).get("python") or conda.get("python")
    match = _PYTHON_VERSION.match(str(said)) if said is not None else None
    return match[0] if match else None


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(getattr(error, "problem_mark", None), "line", None)
        at = "" if where is None else f" line {where + 1}"
        raise _invalid(f"{path.name}{at} is no valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(document, dict):
        raise _invalid(f"{path.name} is no YAML mapping")
    return document


def _invalid(problem: str) -> StartupError:
    return StartupError(Reason.MODEL_INVALID, problem)
