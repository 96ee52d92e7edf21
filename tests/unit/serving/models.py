"""Models saved with MLflow, one for each kind of signature and prediction."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.unit.serving import echo

with warnings.catch_warnings():
    # MLflow warns of its own type hints when it is imported.
    warnings.simplefilter("ignore")
    import mlflow.sklearn
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType, Array, Map, Object, Property

ANY = AnyType()  # type: ignore[no-untyped-call]

cloudpickle.register_pickle_by_value(echo)

RANDOM = np.random.default_rng(7)
FEATURES = pd.DataFrame(
    {
        "tenure": RANDOM.integers(0, 72, 200),
        "charge": RANDOM.normal(70, 30, 200),
        "plan": RANDOM.choice(["basic", "plus", "max"], 200),
    }
)
CHURNED = ((FEATURES["charge"] > 80) & (FEATURES["tenure"] < 40)).astype(int)
MATRIX = RANDOM.normal(size=(150, 4))


def columns(*specs: ColSpec) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(specs)))


def tensors(*specs: TensorSpec) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(specs)))


ECHO_SIGNATURES: dict[str, ModelSignature | None] = {
    "scalars": columns(
        ColSpec(DataType.double, "d"),
        ColSpec(DataType.long, "l"),
        ColSpec(DataType.string, "s"),
        ColSpec(DataType.boolean, "b", required=False),
        ColSpec(DataType.integer, "i", required=False),
        ColSpec(DataType.float, "f", required=False),
        ColSpec(DataType.datetime, "t", required=False),
        ColSpec(DataType.binary, "x", required=False),
        ColSpec(DataType.double, "o", required=False),
    ),
    "doubles": columns(ColSpec(DataType.double, "a"), ColSpec(DataType.double, "b"), ColSpec(DataType.double, "c")),
    "numbers": columns(ColSpec(DataType.double, "a"), ColSpec(DataType.long, "n"), ColSpec(DataType.string, "s")),
    "one_column": columns(ColSpec(DataType.double, "a")),
    "one_text": columns(ColSpec(DataType.string, "text")),
    "unnamed_columns": columns(ColSpec(DataType.double), ColSpec(DataType.double)),
    "unnamed_mixed": columns(ColSpec(DataType.double), ColSpec(DataType.long)),
    "unnamed_one": columns(ColSpec(DataType.long)),
    "nested": columns(
        ColSpec(Array(DataType.double), "values"),
        ColSpec(
            Object([Property("x", DataType.double), Property("y", DataType.string, required=False)]),
            "point",
            required=False,
        ),
        ColSpec(Map(DataType.long), "counts", required=False),
        ColSpec(ANY, "any", required=False),
    ),
    "matrix": tensors(TensorSpec(np.dtype("float64"), (-1, 4))),
    "vector": tensors(TensorSpec(np.dtype("float64"), (-1,))),
    "column_vector": tensors(TensorSpec(np.dtype("int64"), (-1, 1))),
    "images": tensors(TensorSpec(np.dtype("float32"), (-1, 2, 2))),
    "texts": tensors(TensorSpec(np.dtype("str"), (-1, 2))),
    "named_tensors": tensors(TensorSpec(np.dtype("float64"), (-1, 2), "u"), TensorSpec(np.dtype("int64"), (-1,), "v")),
    "one_named_tensor": tensors(TensorSpec(np.dtype("float64"), (-1, 2), "u")),
    "none": None,
    "params": ModelSignature(
        inputs=Schema([ColSpec(DataType.double, "a")]),
        params=ParamSchema(
            [
                ParamSpec("temperature", DataType.double, 0.5),
                ParamSpec("top", DataType.long, 3),
                ParamSpec("words", DataType.string, ["a"], shape=(-1,)),
                ParamSpec("since", DataType.datetime, np.datetime64("2024-01-01").item()),
                ParamSpec("on", DataType.boolean, True),
            ]
        ),
    ),
}


def _save_echo(signature: ModelSignature | None) -> Callable[[Path], None]:
    return lambda path: mlflow.sklearn.save_model(
        echo.Echo(), path, signature=signature or False, serialization_format="cloudpickle", pip_requirements=[]
    )


def _save(estimator: Any, signature: ModelSignature, **options: Any) -> Callable[[Path], None]:
    return lambda path: mlflow.sklearn.save_model(estimator, path, signature=signature, pip_requirements=[], **options)


def _pipeline(classifier: Any) -> Any:
    encode = ColumnTransformer(
        [("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"]), ("rest", StandardScaler(), ["tenure", "charge"])]
    )
    return make_pipeline(encode, classifier)


def builders() -> dict[str, Callable[[Path], None]]:
    """Name → how to save the model of that name."""
    by_columns = infer_signature(FEATURES, CHURNED)
    by_matrix = infer_signature(MATRIX, np.zeros(150))
    words = np.where(CHURNED == 1, "leaves", "stays")
    logistic = _pipeline(LogisticRegression()).fit(FEATURES, words)
    forest = RandomForestClassifier(10, random_state=0).fit(MATRIX, (MATRIX[:, 0] > 0).astype(int))
    boosted = GradientBoostingRegressor(n_estimators=20, random_state=0).fit(MATRIX, MATRIX @ [1.0, 2.0, 0.5, -1.0])
    return {
        **{f"echo_{name}": _save_echo(signature) for name, signature in ECHO_SIGNATURES.items()},
        "labels_text": _save(logistic, by_columns, serialization_format="cloudpickle"),
        "labels_int": _save(_pipeline(LogisticRegression()).fit(FEATURES, CHURNED), by_columns),
        "probabilities": _save(logistic, by_columns, pyfunc_predict_fn="predict_proba", serialization_format="pickle"),
        "forest": _save(forest, by_matrix, serialization_format="pickle"),
        "regression": _save(boosted, by_matrix, skops_trusted_types=["sklearn.tree._tree.Tree"]),
    }
