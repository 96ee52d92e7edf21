"""Loads LightGBM models as MLflow's `lightgbm` flavor stores them: a Booster in LightGBM's text format, a model of the
scikit-learn API as skops, cloudpickle or pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from modelyard_serving import threads
from modelyard_serving.call import PREDICT, Predict, Predictor
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.flavors.batching import rows_are_independent
from modelyard_serving.flavors.methods import methods_of, plain
from modelyard_serving.flavors.parallel import use_one_job
from modelyard_serving.flavors.stored import add_code, data_file, loading, read_object, warn_of_version
from modelyard_serving.mlmodel import MLmodel

BOOSTER = "lightgbm.basic.Booster"


def load(directory: Path, model: MLmodel) -> Predictor:
    """A Booster, or a model of the scikit-learn API.

    Raises StartupError: ModelInvalid, MissingDependency (names the module), LoadFailed.
    """
    conf = model.flavors["lightgbm"]
    add_code(directory, model, "lightgbm")
    path = data_file(directory, "lightgbm", conf.get("data") or model.pyfunc.get("data"))
    with loading(path.name):
        import lightgbm  # noqa: PLC0415 - only models of this flavor need it

        warn_of_version("lightgbm", conf.get("lgb_version"), lightgbm.__version__)
        # Models saved before MLflow 1.23 do not name their class.
        if conf.get("model_class", BOOSTER) == BOOSTER:
            booster = lightgbm.Booster(model_file=str(path))
            return Predictor({PREDICT: _method(booster)}, batchable=rows_are_independent(booster))
    loaded = read_object(path, conf, "cloudpickle")
    if not callable(getattr(loaded, "predict", None)):
        raise StartupError(Reason.LOAD_FAILED, f"{type(loaded).__name__} cannot predict")
    use_one_job(loaded)
    return Predictor(methods_of(loaded, loaded.predict, plain), batchable=rows_are_independent(loaded))


def _method(booster: Any) -> Predict:
    """MLflow gives LightGBM no params."""
    num_threads = threads.per_prediction(os.environ)

    @wraps(booster.predict)
    def predict(data: Any, params: Mapping[str, Any] | None) -> Any:
        del params
        return booster.predict(data, num_threads=num_threads)

    return predict
