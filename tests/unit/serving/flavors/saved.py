"""Models saved by MLflow, and what MLflow's own python_function answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

with warnings.catch_warnings():
    # MLflow warns of its own type hints when it is imported.
    warnings.simplefilter("ignore")
    import mlflow.lightgbm
    import mlflow.pyfunc
    import mlflow.xgboost

from modelyard_serving import mlmodel
from modelyard_serving.call import Predictor
from modelyard_serving.flavors import choose

__all__ = ["mlflow"]

RANDOM = np.random.default_rng(5)
FEATURES = pd.DataFrame(RANDOM.normal(size=(60, 4)), columns=["a", "b", "c", "d"])
LABELS = RANDOM.integers(0, 3, 60)
VALUES = FEATURES["a"].to_numpy() * 3 - FEATURES["b"].to_numpy()


@contextmanager
def quiet() -> Iterator[None]:
    """MLflow, XGBoost and LightGBM warn of each other's habits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ours(directory: Path) -> Predictor:
    """The predictor of the flavor that serves the model."""
    description = mlmodel.read(directory)
    _, loader = choose(description)
    return loader(directory, description)


def mlflows(directory: Path, data: Any, params: Mapping[str, Any] | None = None) -> Any:
    """What MLflow answers."""
    with quiet():
        loaded = mlflow.pyfunc.load_model(str(directory), suppress_warnings=True)
        return loaded.predict(data, params=dict(params) if params else None)


def same(left: Any, right: Any) -> bool:
    """Equal in type and in every byte."""
    left_array, right_array = np.asarray(left), np.asarray(right)
    return (
        type(left) is type(right)
        and left_array.dtype == right_array.dtype
        and left_array.shape == right_array.shape
        and left_array.tobytes() == right_array.tobytes()
    )
