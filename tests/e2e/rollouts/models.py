"""Small models as files of MLflow, made here and put into the artifact store: versions without a training run."""

from __future__ import annotations

import functools
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from tests.e2e.store import ArtifactAccess

with warnings.catch_warnings():
    # MLflow warns of its own type hints as it is imported.
    warnings.simplefilter("ignore")
    import mlflow.pyfunc
    import mlflow.sklearn
    from mlflow.models import infer_signature

ROOT = "s3://modelyard/artifacts/rollouts"
COLUMNS = ("age", "income", "visits", "balance")


@functools.cache
def rows(count: int = 600, seed: int = 7) -> pd.DataFrame:
    """Rows like those that the models are asked about."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(random.normal(size=(count, len(COLUMNS))), columns=list(COLUMNS))


def labels(data: pd.DataFrame) -> np.ndarray[Any, Any]:
    """What is true of the rows: one of three groups."""
    score = 1.5 * data["age"] - data["income"] + 0.5 * data["visits"]
    return np.digitize(score, [-1.0, 1.0])


@functools.cache
def classifier(seed: int = 0) -> LogisticRegression:
    """A model that is right nearly always."""
    data = rows(seed=seed + 100)
    return LogisticRegression(max_iter=500).fit(data, labels(data))


class Wrapped(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A model whose answers something is done to. Pickled whole, so that a pod needs nothing of these tests."""

    def __init__(self, model: Any = None) -> None:
        self.model = model

    def predict(self, data: Any) -> Any:
        """Answer as the model does."""
        return self.model.predict(data)


class Swapped(Wrapped):
    """Two labels have changed places."""

    def predict(self, data: Any) -> Any:
        """Answer with the wrong ones."""
        return 2 - self.model.predict(data)


def stored(access: ArtifactAccess, name: str, model: Any) -> str:
    """Put the model into the artifact store; return its s3:// URI."""
    # Classes of the tests go by value: the pods do not have these modules.
    for module in {type(model).__module__, __name__}:
        if module.startswith("tests."):
            cloudpickle.register_pickle_by_value(sys.modules[module])
    data = rows()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model"
        mlflow.sklearn.save_model(
            model,
            str(path),
            serialization_format="cloudpickle",
            pip_requirements=[],
            signature=infer_signature(data, classifier().predict(data)),
        )
        for file in sorted(each for each in path.rglob("*") if each.is_file()):
            access.write(f"{ROOT}/{name}/{file.relative_to(path)}", file.read_bytes())
    return f"{ROOT}/{name}"
