"""Loads any other MLflow model through `mlflow.pyfunc`, which is imported for these alone."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from modelyard_serving.call import PREDICT, Predictor
from modelyard_serving.flavors.stored import inside, loading
from modelyard_serving.mlmodel import MLmodel

QUIET: Mapping[str, str] = {
    # Its messages go where all others go, not to a handler of its own.
    "MLFLOW_CONFIGURE_LOGGING": "false",
    # A model server calls nobody.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_ENV_CREATION": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def load(directory: Path, model: MLmodel) -> Predictor:
    """What `mlflow.pyfunc.load_model` makes of the directory. No tracking server is asked.

    Data is held to the signature twice, by the server and by MLflow, which also prepares it for models with type hints:
    what satisfies the signature passes unchanged. Not batchable: nothing is known of the code.
    Raises StartupError: ModelInvalid, MissingDependency (names the module), LoadFailed.
    """
    if code := model.pyfunc.get("code"):
        inside(directory, code)
    if data := model.pyfunc.get("data"):
        inside(directory, data)
    with loading("the model"), warnings.catch_warnings():
        # What MLflow says of itself while it is imported is no concern of those who serve a model.
        warnings.simplefilter("ignore")
        mlflow = _import_quietly(os.environ)
        loaded = mlflow.load_model(str(directory), suppress_warnings=True)
    # MLflow before 2.5 knows no params.
    takes_params = "params" in inspect.signature(loaded.predict).parameters

    def predict(data: Any, params: Mapping[str, Any] | None) -> Any:
        return loaded.predict(data, params=dict(params) if params else None) if takes_params else loaded.predict(data)

    return Predictor({PREDICT: predict})


def _import_quietly(env: MutableMapping[str, str]) -> Any:
    for name, value in QUIET.items():
        env.setdefault(name, value)
    # It warns of the same thing with each request.
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return importlib.import_module("mlflow.pyfunc")
