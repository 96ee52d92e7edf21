from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from modelyard_serving import flavors, mlmodel
from modelyard_serving.errors import Reason, StartupError


def model(**flavors: Any) -> mlmodel.MLmodel:
    return mlmodel.parse({"flavors": flavors})


@pytest.mark.parametrize(
    ("loader_module", "others", "chosen"),
    [
        ("mlflow.sklearn", ["sklearn"], "sklearn"),
        ("mlflow.xgboost", ["xgboost"], "xgboost"),
        ("mlflow.lightgbm", ["lightgbm", "sklearn"], "lightgbm"),
        ("mlflow.onnx", ["onnx"], "onnx"),
        ("mlflow.pyfunc.model", [], "python_function"),
        ("mlflow.pyfunc.model", ["sklearn"], "python_function"),
        ("mlflow.statsmodels", ["statsmodels"], "python_function"),
        # MLflow can load what lacks the flavor's own part.
        ("mlflow.sklearn", [], "python_function"),
    ],
)
def test_a_flavors_own_loader_goes_before_mlflows(loader_module: str, others: list[str], chosen: str) -> None:
    parts: dict[str, Any] = {"python_function": {"loader_module": loader_module}, **{name: {} for name in others}}
    name, loader = flavors.choose(model(**parts))
    assert name == chosen
    assert loader.__module__.rpartition(".")[2] == ("pyfunc" if chosen == "python_function" else chosen)


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({}, "none"),
        ({"sklearn": {}}, "sklearn"),
        ({"xgboost": {}, "onnx": {}}, "onnx, xgboost"),
        ({"python_function": {}, "sklearn": {}}, "python_function, sklearn"),
    ],
)
def test_names_both_sides_when_nothing_can_be_served(parts: dict[str, Any], found: str) -> None:
    with pytest.raises(StartupError) as raised:
        flavors.choose(model(**parts))
    assert raised.value.reason is Reason.UNSUPPORTED_FLAVOR
    assert raised.value.message == (
        f"the model has the flavors {found}; supported: sklearn, xgboost, lightgbm, onnx (each with python_function),"
        " and any other through python_function"
    )


def test_no_library_is_imported_before_a_model_needs_it() -> None:
    heavy = ("sklearn", "xgboost", "lightgbm", "mlflow", "onnxruntime", "skops")
    program = f"import sys; import modelyard_serving.flavors; print([n for n in {heavy} if n in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "[]"
