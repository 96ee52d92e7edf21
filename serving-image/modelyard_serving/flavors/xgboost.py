"""Loads XGBoost models as MLflow's `xgboost` flavor stores them: in XGBoost's own formats, which run no code.

The file's name says which: `.ubj` (MLflow's default), `.json`, or `.xgb`, the name that MLflow used before, for which
XGBoost looks at the content. The binary format of XGBoost before 1.6 can be read by those versions that still know it.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from threading import Lock
from typing import Any

from modelyard_serving import threads
from modelyard_serving.call import PREDICT, Predict, Predictor
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.flavors.batching import rows_are_independent
from modelyard_serving.flavors.methods import accepted, methods_of
from modelyard_serving.flavors.stored import add_code, data_file, loading, warn_of_version
from modelyard_serving.mlmodel import MLmodel

BOOSTER = "xgboost.core.Booster"
TREES = ("gbtree", "dart")
"""The boosters that XGBoost lets several threads predict with at a time."""


def load(directory: Path, model: MLmodel) -> Predictor:
    """A Booster, or a model of the scikit-learn API.

    Raises StartupError: ModelInvalid, MissingDependency (names the module), LoadFailed.
    """
    conf = model.flavors["xgboost"]
    add_code(directory, model, "xgboost")
    path = data_file(directory, "xgboost", conf.get("data") or model.pyfunc.get("data"))
    with loading(path.name):
        import xgboost  # noqa: PLC0415 - only models of this flavor need it

        warn_of_version("xgboost", conf.get("xgb_version"), xgboost.__version__)
        # Models saved before MLflow 1.22 do not name their class.
        loaded = _class(str(conf.get("model_class") or BOOSTER))()
        loaded.load_model(str(path))
        booster = loaded if isinstance(loaded, xgboost.Booster) else loaded.get_booster()
        kind = _configure(booster)
        if booster is loaded:
            methods = {PREDICT: _booster_method(loaded)}
        else:
            loaded.n_jobs = threads.per_prediction(os.environ)
            methods = methods_of(loaded, loaded.predict, _estimator_method)
    if kind not in TREES:
        lock = Lock()
        methods = {name: _one_at_a_time(method, lock) for name, method in methods.items()}
    return Predictor(methods, batchable=rows_are_independent(loaded))


def _class(name: str) -> type[Any]:
    module, _, qualified = name.rpartition(".")
    found = getattr(importlib.import_module(module), qualified, None)
    if not (isinstance(found, type) and hasattr(found, "load_model") and hasattr(found, "predict")):
        raise StartupError(Reason.MODEL_INVALID, f"model_class {name!r} is no XGBoost model")
    return found


def _configure(booster: Any) -> str:
    """Set the threads of a prediction; the booster's kind."""
    booster.set_param({"nthread": threads.per_prediction(os.environ)})
    return str(json.loads(booster.save_config())["learner"]["gradient_booster"]["name"])


def _booster_method(booster: Any) -> Predict:
    """A Booster predicts from its own kind of matrix; params are those of `Booster.predict`."""
    import xgboost  # noqa: PLC0415

    nthread = threads.per_prediction(os.environ)

    @wraps(booster.predict)
    def predict(data: Any, params: Mapping[str, Any] | None) -> Any:
        return booster.predict(
            xgboost.DMatrix(data, nthread=nthread),
            validate_features=True,
            **accepted(booster.predict, params, "xgboost"),
        )

    return predict


def _estimator_method(function: Callable[..., Any]) -> Predict:
    """Params are those of the function."""
    takes = partial(function, validate_features=True)

    @wraps(function)
    def predict(data: Any, params: Mapping[str, Any] | None) -> Any:
        return takes(data, **accepted(takes, params, "xgboost"))

    return predict


def _one_at_a_time(method: Predict, lock: Lock) -> Predict:
    @wraps(method)
    def predict(data: Any, params: Mapping[str, Any] | None) -> Any:
        with lock:
            return method(data, params)

    return predict
