"""The flavors that can be served, and the choice among those a model has."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from modelyard_serving.call import Predictor
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.mlmodel import PYFUNC, MLmodel

Loader = Callable[[Path, MLmodel], Predictor]
"""The verified directory and its MLmodel → the model. Raises StartupError."""

LOADERS: Mapping[str, str] = {
    "mlflow.sklearn": "sklearn",
    "mlflow.xgboost": "xgboost",
    "mlflow.lightgbm": "lightgbm",
    "mlflow.onnx": "onnx",
}
"""python_function's `loader_module` → the flavor that is read without MLflow. The module of that name in this package
has the loader; it is imported when it is chosen, for the sake of all the others."""


def name_of(model: MLmodel) -> str:
    """The flavor behind the model's `python_function`, or that itself. Raises StartupError(UnsupportedFlavor)."""
    if not model.pyfunc.get("loader_module"):
        found = ", ".join(sorted(model.flavors)) or "none"
        supported = f"{', '.join(LOADERS.values())} (each with {PYFUNC}), and any other through {PYFUNC}"
        raise StartupError(Reason.UNSUPPORTED_FLAVOR, f"the model has the flavors {found}; supported: {supported}")
    name = LOADERS.get(str(model.pyfunc["loader_module"]), "")
    return name if name in model.flavors else PYFUNC


def choose(model: MLmodel) -> tuple[str, Loader]:
    """The flavor's name, and what loads it: that library is imported now. Raises StartupError(UnsupportedFlavor)."""
    name = name_of(model)
    module = importlib.import_module(f"{__name__}.{'pyfunc' if name == PYFUNC else name}")
    return name, cast(Loader, module.load)
