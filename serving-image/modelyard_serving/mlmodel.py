"""Reads the `MLmodel` file, the description that MLflow puts beside every model.

Format: https://mlflow.org/docs/latest/ml/model/#storage-format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.schema.params import ParamsSchema, read_params
from modelyard_serving.schema.types import Schema, read_schema

FILE_NAME = "MLmodel"
PYFUNC = "python_function"


@dataclass(frozen=True)
class MLmodel:
    """The parts of an MLmodel file that serving needs."""

    flavors: Mapping[str, Mapping[str, Any]]
    inputs: Schema | None
    """None: the model has no signature, and nothing is enforced."""
    params: ParamsSchema | None
    signature: Mapping[str, Any]
    """The signature as data (`inputs`, `outputs`, `params`, each a list), for display."""
    mlflow_version: str
    model_uuid: str | None

    @property
    def pyfunc(self) -> Mapping[str, Any]:
        """The configuration of the `python_function` flavor; empty when the model lacks it."""
        return self.flavors.get(PYFUNC, {})


def read(directory: Path) -> MLmodel:
    """Raises StartupError(ModelInvalid) for a file that is absent, no YAML, or holds no model."""
    path = directory / FILE_NAME
    try:
        document = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise _invalid(f"there is no {FILE_NAME} file in the model directory") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _invalid(f"{FILE_NAME} is no valid YAML: {error}") from error
    return parse(document)


def parse(document: object) -> MLmodel:
    """Raises StartupError(ModelInvalid); `document` is the parsed YAML."""
    if not isinstance(document, dict):
        raise _invalid(f"{FILE_NAME} is no YAML mapping")
    flavors = document.get("flavors")
    if not isinstance(flavors, dict) or not all(isinstance(conf, dict) for conf in flavors.values()):
        raise _invalid(f"{FILE_NAME} has no mapping of flavors")
    try:
        signature = _signature(document.get("signature"))
        inputs = read_schema(signature["inputs"]) if signature.get("inputs") else None
        params = read_params(signature["params"]) if signature.get("params") else None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _invalid(f"{FILE_NAME} has a signature that cannot be read: {error}") from error
    return MLmodel(
        flavors=flavors,
        inputs=inputs,
        params=params,
        signature=signature,
        mlflow_version=str(document.get("mlflow_version", "unknown")),
        model_uuid=document.get("model_uuid"),
    )


def _signature(entry: Mapping[str, str | None] | None) -> dict[str, Any]:
    """Each part of a signature is stored as a JSON text inside the YAML."""
    return {part: json.loads(text) if text else None for part, text in (entry or {}).items()}


def _invalid(problem: str) -> StartupError:
    return StartupError(Reason.MODEL_INVALID, problem)
