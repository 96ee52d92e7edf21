"""Model directories, sound and broken, as MLflow's sklearn flavor has them."""

from __future__ import annotations

import operator
import os
import time
from typing import Any

import cloudpickle
import sklearn
import yaml

from tests.e2e.faults import misbehaving
from tests.e2e.faults.misbehaving import Constant, Does

Files = dict[str, bytes]
Json = dict[str, Any]

cloudpickle.register_pickle_by_value(misbehaving)

_PYFUNC = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict"}
_SKLEARN = {
    "pickled_model": "model.pkl",
    "serialization_format": "cloudpickle",
    "sklearn_version": sklearn.__version__,
}
_FLAVORS: Json = {"python_function": _PYFUNC, "sklearn": _SKLEARN}
_GIBIBYTES = 1 << 31


def _directory(pickle: bytes, flavors: Json = _FLAVORS, **more: Any) -> Files:
    return {"MLmodel": yaml.safe_dump({"flavors": flavors, **more}).encode(), "model.pkl": pickle}


def _loading(function: Any, *arguments: Any) -> Files:
    """Return a model whose loading calls the function."""
    return _directory(cloudpickle.dumps(Does(function, *arguments)))


SOUND = _directory(cloudpickle.dumps(Constant(1.0)))

MODELS: dict[str, Files] = {
    "sound": SOUND,
    "raises": _loading(int, "no number"),
    "aborts": _loading(os.abort),
    "slow": _loading(time.sleep, 90),
    "greedy": _loading(operator.mul, b"x", _GIBIBYTES),
    "dependent": _directory(
        b"cno_such_module\nModel\n.", {**_FLAVORS, "sklearn": {**_SKLEARN, "serialization_format": "pickle"}}
    ),
    "foreign": _directory(b"", {"mleap": {"model_data": "model.mleap"}}),
    "halfway": _directory(SOUND["model.pkl"], {"sklearn": _SKLEARN}),
    "unsigned": _directory(SOUND["model.pkl"], signature={"inputs": "no JSON"}),
}
