"""The flavors that can be served, and the choice among those a model has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from modelyard_serving.call import Predictor
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.flavors import sklearn
from modelyard_serving.mlmodel import PYFUNC, MLmodel

Loader = Callable[[Path, MLmodel], Predictor]
"""The verified directory and its MLmodel → the model. Raises StartupError."""

# python_function's `loader_module` → the flavor's name and how to load it.
LOADERS: Mapping[str, tuple[str, Loader]] = {"mlflow.sklearn": ("sklearn", sklearn.load)}


def choose(model: MLmodel) -> tuple[str, Loader]:
    """The flavor behind the model's `python_function`. Raises StartupError(UnsupportedFlavor)."""
    name, loader = LOADERS.get(str(model.pyfunc.get("loader_module")), ("", None))
    if loader is None or name not in model.flavors:
        found = ", ".join(sorted(model.flavors)) or "none"
        supported = " or ".join(f"{name} (with {PYFUNC})" for name, _ in LOADERS.values())
        raise StartupError(Reason.UNSUPPORTED_FLAVOR, f"the model has the flavors {found}; supported: {supported}")
    return name, loader
