"""Compares what a model asks for with what is installed. The rules and their reasons are in docs/models.md."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from modelyard_serving import flavors
from modelyard_serving.environments import files
from modelyard_serving.environments.code import holds_code
from modelyard_serving.environments.files import Line, Requirements
from modelyard_serving.environments.named import missing_modules, named_modules, providers
from modelyard_serving.mlmodel import PYFUNC, MLmodel

Installed = Callable[[str], str | None]
"""A package's normalized name → its installed version, or None."""

MINOR = frozenset({"scikit-learn", "xgboost", "lightgbm", "onnx", "onnxruntime", "skops", "catboost", "torch"})
"""What they store, or answer, changes with the minor version."""
MLFLOW = frozenset({"mlflow", "mlflow-skinny"})
SAME: dict[str, tuple[str, ...]] = {
    "xgboost": ("xgboost", "xgboost-cpu"),
    "xgboost-cpu": ("xgboost-cpu", "xgboost"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnxruntime-gpu": ("onnxruntime-gpu", "onnxruntime"),
}
"""Packages that hold the same modules."""
LIBRARIES: dict[str, tuple[str, ...]] = {
    "sklearn": ("scikit-learn", "numpy"),
    "xgboost": ("xgboost", "xgboost-cpu", "numpy"),
    "lightgbm": ("lightgbm", "numpy"),
    "onnx": ("onnxruntime", "onnx", "numpy"),
}
"""By flavor, what its loader imports whatever the files name."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Difference:
    """Something that a model asks for, and that is not so."""

    requirement: str
    """As the model writes it: `scikit-learn==1.5.2`, or `python==3.11`."""
    installed: str | None
    """The version there is; None: there is none."""
    needed: bool
    """Whether the model may fail, or answer otherwise, for it."""
    curable: bool = True
    """Whether an environment would mend it: all but another Python."""

    @property
    def name(self) -> str:
        """The package's normalized name; empty for what is no requirement of a package."""
        match = _NAME.match(self.requirement)
        return canonicalize_name(match[0]) if match else ""

    def without_need(self) -> Difference:
        """The same, as something that does not matter."""
        return replace(self, needed=False)

    @property
    def text(self) -> str:
        """`scikit-learn==1.5.2, the image has 1.9.1`."""
        if not self.curable:
            return f"{self.requirement} for code that was pickled with it, the image has {self.installed}"
        return f"{self.requirement}, the image has {self.installed or 'none'}"


def installed_version(name: str) -> str | None:
    """What this process would import."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def differences(directory: Path, model: MLmodel) -> list[Difference]:
    """Between the requirements of the model in `directory` and this process. Raises StartupError(ModelInvalid)."""
    wanted = files.read(directory)
    mlflow = uses_mlflow(model)
    found = list(compare(wanted, mlflow, installed_version))
    if not mlflow and any(each.needed for each in found):
        # A loader of ours imports what the files name, and the flavor's own library.
        found = _only_named(found, directory, flavors.name_of(model))
    if (other := _python(directory, wanted, platform.python_version())) is not None:
        found.append(other)
    return found


def _only_named(found: Sequence[Difference], directory: Path, flavor: str) -> list[Difference]:
    """The differences, of which none is needed that concerns packages which loading the model does not import."""
    names = named_modules(directory)
    if names is None or (flavor == "sklearn" and not names):
        # A scikit-learn model is stored by its modules' names: where none is found, they are somewhere else.
        return list(found)
    lacking = missing_modules(names, directory)
    holders = providers(names) | set(LIBRARIES.get(flavor, ()))
    return [each.without_need() if not _named(each, bool(lacking), holders) else each for each in found]


def _named(difference: Difference, lacking: bool, holders: frozenset[str] | set[str]) -> bool:
    """Which package holds a module that is missing cannot be known: any that is missing might."""
    if difference.installed is None:
        return lacking
    return not holders.isdisjoint(SAME.get(difference.name, (difference.name,)))


def uses_mlflow(model: MLmodel) -> bool:
    """Whether the model is loaded by MLflow rather than by a loader of ours."""
    return flavors.name_of(model) == PYFUNC


def compare(wanted: Requirements, mlflow: bool, installed: Installed) -> Iterator[Difference]:
    """What is not as required; `mlflow`: whether MLflow itself matters."""
    for line in wanted.lines:
        if line.requirement is None:
            if line.place:
                yield Difference(line.text, None, needed=True)
        elif (difference := _difference(line, line.requirement, installed)) is not None:
            matters = difference.needed and (mlflow or line.name not in MLFLOW)
            yield Difference(difference.requirement, difference.installed, matters)


def _difference(line: Line, requirement: Requirement, installed: Installed) -> Difference | None:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return None
    name = canonicalize_name(requirement.name)
    version = next(filter(None, map(installed, SAME.get(name, (name,)))), None)
    text = line.text.split(";")[0].split(" --")[0].strip()
    if version is None or requirement.url is not None:
        # What an URL holds is not known by its version.
        return Difference(text, version, needed=True)
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return Difference(text, version, needed=not _compatible(name, requirement, version))


def _compatible(name: str, requirement: Requirement, installed: str) -> bool:
    """Whether the installed version will do for a pin: it is of the series within which the library keeps its word."""
    pins = [each.version for each in requirement.specifier if each.operator in ("==", "===")]
    if len(pins) != 1 or len(requirement.specifier) != 1:
        return False
    try:
        pinned, there = Version(pins[0].removesuffix(".*")), Version(installed)
    except InvalidVersion:
        return False
    # Before 1.0 the minor version is what counts: https://semver.org/#spec-item-4.
    depth = 2 if name in MINOR or pinned.major == 0 else 1
    return pinned.release[:depth] == there.release[:depth]


def _python(directory: Path, wanted: Requirements, running: str) -> Difference | None:
    """Another minor version of Python matters to bytecode alone, and only pickled functions and classes hold any."""
    if wanted.python is None or _minor(wanted.python) == _minor(running) or not holds_code(directory):
        return None
    return Difference(f"python=={_minor(wanted.python)}", running, needed=True, curable=False)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
