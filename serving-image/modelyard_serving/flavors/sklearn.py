"""Loads scikit-learn models as MLflow's `sklearn` flavor stores them: skops, cloudpickle or pickle.

Pickles run code when they are loaded, and skops trusts the types that the MLmodel file lists: only files whose digest
has been verified may come here.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import cloudpickle
from sklearn import __version__ as sklearn_version

from modelyard_serving.call import PREDICT, PREDICT_PROBA, Predict, Predictor
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.logs import warning
from modelyard_serving.mlmodel import MLmodel

PREDICT_FUNCTIONS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "score")


ON_REQUEST = (PREDICT_PROBA, "predict_log_proba", "decision_function")
"""What a request may ask for by name, where the estimator has it."""


def load(directory: Path, model: MLmodel) -> Predictor:
    """The model; its `predict` is the function that `python_function.predict_fn` names.

    Raises StartupError: ModelInvalid, MissingDependency (names the module), LoadFailed.
    """
    conf = model.flavors["sklearn"]
    if (trained_with := conf.get("sklearn_version")) != sklearn_version:
        warning("sklearn_version_differs", trained_with=trained_with, served_with=sklearn_version)
    _add_code(directory, conf)
    data = conf.get("pickled_model") or model.pyfunc.get("model_path") or model.pyfunc.get("data")
    if not data:
        raise StartupError(Reason.MODEL_INVALID, "the sklearn flavor names no pickled_model")
    estimator = _load_estimator(_inside(directory, data), conf)
    name = model.pyfunc.get("predict_fn", "predict")
    function = getattr(estimator, name, None) if name in PREDICT_FUNCTIONS else None
    if function is None:
        raise StartupError(Reason.LOAD_FAILED, f"{type(estimator).__name__} cannot be served by its {name!r} function")
    others = {each: getattr(estimator, each, None) for each in ON_REQUEST}
    methods = {PREDICT: _plain(function), **{each: _plain(other) for each, other in others.items() if other}}
    return Predictor(methods)


def _plain(function: Callable[[Any], Any]) -> Predict:
    """The estimator's function; scikit-learn's take no parameters."""

    @wraps(function)
    def predict(data: Any, params: Mapping[str, Any] | None) -> Any:
        del params
        return function(data)

    return predict


def _load_estimator(path: Path, conf: Mapping[str, Any]) -> Any:
    loaders: Mapping[str, Callable[[Path], Any]] = {
        "skops": lambda path: _load_skops(path, conf.get("skops_trusted_types")),
        "cloudpickle": lambda path: cloudpickle.loads(path.read_bytes()),
        "pickle": lambda path: pickle.loads(path.read_bytes()),  # noqa: S301 - verified by digest
    }
    serialization = conf.get("serialization_format", "pickle")
    if serialization not in loaders:
        raise StartupError(Reason.MODEL_INVALID, f"serialization_format {serialization!r} is none of {list(loaders)}")
    if not path.is_file():
        raise StartupError(Reason.MODEL_INVALID, f"the model's file {path.name} is missing")
    try:
        return loaders[serialization](path)
    except ModuleNotFoundError as error:
        raise StartupError(
            Reason.MISSING_DEPENDENCY, f"the model needs the Python module {error.name!r}, which is not installed"
        ) from error
    except Exception as error:
        raise StartupError(
            Reason.LOAD_FAILED, f"{path.name} ({serialization}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _load_skops(path: Path, trusted: list[str] | None) -> Any:
    # Imported here: it looks through all of scikit-learn, which other formats need not wait for.
    import skops.io  # noqa: PLC0415

    return skops.io.load(path, trusted=trusted)


def _add_code(directory: Path, conf: Mapping[str, Any]) -> None:
    """Modules logged with the model (`code_paths`) come before installed ones."""
    if code := conf.get("code"):
        sys.path.insert(0, str(_inside(directory, code)))


def _inside(directory: Path, relative: str) -> Path:
    path = (directory / relative).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise StartupError(Reason.MODEL_INVALID, f"MLmodel names a path outside the model directory: {relative!r}")
    return path
