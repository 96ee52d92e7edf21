"""What is installed into a model's own environment: what the model asks for, and what the server itself needs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelyard_serving import flavors
from modelyard_serving.environments.files import Line, Requirements
from modelyard_serving.environments.requirements import MLFLOW, SAME
from modelyard_serving.mlmodel import PYFUNC, MLmodel

DISTRIBUTION = "modelyard-serving"
LIBRARIES = frozenset(
    {"cloudpickle", "mlflow-skinny", "numpy", "onnx", "pandas", "protobuf", "scikit-learn", "skl2onnx"}
    | {"onnxruntime", "packaging", "skops"}
)
"""What models pin, or what has to fit to that: any version does for the server."""
_PER_FLAVOR = {"xgboost-cpu": "xgboost", "lightgbm": "lightgbm", "mlflow-skinny": PYFUNC}
_FORMAT = "1"


def requirements_text(wanted: Requirements, model: MLmodel) -> str:
    """A requirements file: the model's lines, which go before all else, and then the server's."""
    lines = [each.text for each in wanted.lines if _needed(each, model)]
    return "\n".join([*lines, *server_requirements(wanted, model)]) + "\n"


def _needed(line: Line, model: MLmodel) -> bool:
    """MLflow notes itself with each model, and only pyfunc has a use for it."""
    return line.name not in MLFLOW or flavors.name_of(model) == PYFUNC


def server_requirements(wanted: Requirements, model: MLmodel) -> Iterator[str]:
    """What the package declares, without what the model already asks for."""
    named = {line.name for line in wanted.lines if line.name}
    served = flavors.name_of(model)
    for text in importlib.metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        # uv builds environments, and is not needed in one.
        if name == "uv" or named & set(SAME.get(name, (name,))) or (name == "mlflow-skinny" and "mlflow" in named):
            continue
        if name in _PER_FLAVOR and _PER_FLAVOR[name] != served:
            continue
        yield requirement.name if name in LIBRARIES else str(requirement)


def key(text: str, directory: Path) -> str:
    """What names the environment: equal for equal requirements, files that they refer to, Python and server.

    32 hex digits.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    content = hashlib.sha256(f"{_FORMAT}\n{version}\n{sys.platform}\n{text.replace(str(directory), '')}".encode())
    for path in _files_in(text, directory):
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:32]


def _files_in(text: str, directory: Path) -> Iterator[Path]:
    """Constraints and wheels that lie in the model's directory."""
    for line in text.splitlines():
        place = re.sub(r"^-c\s+", "", line.split(" ;")[0].strip())
        path = directory / place
        if place and path.is_file():
            yield path
