"""Loads scikit-learn models as MLflow's `sklearn` flavor stores them: skops, cloudpickle or pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelyard_serving.call import Predictor
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.flavors.batching import rows_are_independent
from modelyard_serving.flavors.methods import methods_of, plain
from modelyard_serving.flavors.parallel import use_one_job
from modelyard_serving.flavors.stored import add_code, data_file, loading, read_object, warn_of_version
from modelyard_serving.mlmodel import MLmodel

PREDICT_FUNCTIONS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "score")


def load(directory: Path, model: MLmodel) -> Predictor:
    """The model; its `predict` is the function that `python_function.predict_fn` names.

    Raises StartupError: ModelInvalid, MissingDependency (names the module), LoadFailed.
    """
    with loading("scikit-learn"):
        from sklearn import __version__ as version  # noqa: PLC0415 - only models of this flavor need it
    conf = model.flavors["sklearn"]
    warn_of_version("sklearn", conf.get("sklearn_version"), version)
    add_code(directory, model, "sklearn")
    data = conf.get("pickled_model") or model.pyfunc.get("model_path") or model.pyfunc.get("data")
    estimator = read_object(data_file(directory, "sklearn", data), conf, "pickle")
    name = model.pyfunc.get("predict_fn", "predict")
    function = getattr(estimator, name, None) if name in PREDICT_FUNCTIONS else None
    if not callable(function):
        raise StartupError(Reason.LOAD_FAILED, f"{type(estimator).__name__} cannot be served by its {name!r} function")
    return predictor(estimator, function)


def predictor(estimator: Any, function: Any) -> Predictor:
    """The estimator with `function` as its `predict`; scikit-learn's functions take no parameters."""
    use_one_job(estimator)
    # A score is one number for all rows.
    batchable = function.__name__ != "score" and rows_are_independent(estimator)
    return Predictor(methods_of(estimator, function, plain), batchable=batchable)
