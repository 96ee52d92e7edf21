"""The three models that are served, each with its data set, and the requests that are made of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

with warnings.catch_warnings():
    # MLflow warns of its own type hints when it is imported.
    warnings.simplefilter("ignore")
    import mlflow.sklearn
    from mlflow.models import infer_signature

MANY = 1000
LIBRARIES = ("mlflow", "cloudpickle", "numpy", "pandas", "scikit-learn", "scipy")
"""What a model of scikit-learn's needs, as MLflow infers it outside a project of uv's."""
REQUESTS_OF_MANY = 4
FOREST = "forest"
INVOCATIONS, V2 = "invocations", "v2"
"""Protocols: MLflow's, and the Open Inference Protocol."""
V2_TYPES = {"f": "FP64", "i": "INT64"}


@dataclass(frozen=True)
class Model:
    """A fitted estimator and all rows of its data set."""

    name: str
    description: str
    estimator: Any
    rows: pd.DataFrame

    def save(self, directory: Path) -> None:
        """Save it as the guides do, with a signature that is enforced and an input example."""
        with warnings.catch_warnings():
            # Of integer columns, which have no missing values here, and of pickles.
            warnings.simplefilter("ignore")
            mlflow.sklearn.save_model(
                self.estimator,
                directory,
                signature=infer_signature(self.rows, self.estimator.predict(self.rows)),
                input_example=self.rows.head(5),
                serialization_format="cloudpickle",
                pip_requirements=[f"{name}=={version(name)}" for name in LIBRARIES],
            )

    def request(self, positions: Sequence[int], protocol: str = INVOCATIONS) -> bytes:
        """Return the body that asks for some rows: as the guides write it, or in V2's columns."""
        rows = self.rows.iloc[list(positions)]
        if protocol == INVOCATIONS:
            split = {"columns": list(rows.columns), "data": rows.astype(object).to_numpy().tolist()}
            return json.dumps({"dataframe_split": split}).encode()
        inputs = [
            {"name": name, "shape": [len(rows)], "datatype": V2_TYPES[column.dtype.kind], "data": column.tolist()}
            for name, column in rows.items()
        ]
        return json.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs}).encode()

    def write_requests(self, directory: Path) -> dict[tuple[str, int], Path]:
        """Write the bodies that wrk sends, one a line; return the file by protocol and number of rows in a request."""
        random = np.random.default_rng(6)
        many = [random.integers(0, len(self.rows), MANY).tolist() for _ in range(REQUESTS_OF_MANY)]
        asked = {1: [[row] for row in range(len(self.rows))], MANY: many}
        files = {}
        for protocol in (INVOCATIONS, V2):
            for count, requests in asked.items():
                path = files[protocol, count] = directory / f"{protocol}-{count}"
                path.write_bytes(b"".join(self.request(rows, protocol) + b"\n" for rows in requests))
        return files


def forest() -> Model:
    """Train the wine guide's forest.

    Its grid search (47 s) finds depth 5 and splits of 2, and 100, 200 and 300 trees equally good: this has the 300.
    """
    rows, classes = load_wine(return_X_y=True, as_frame=True)
    train, _, train_classes, _ = train_test_split(rows, classes, test_size=0.2, random_state=42, stratify=classes)
    estimator = RandomForestClassifier(n_estimators=300, max_depth=5, min_samples_split=2, random_state=42)
    return Model(FOREST, "wine, random forest of 300 trees", estimator.fit(train, train_classes), rows)


def churn_data() -> tuple[pd.DataFrame, pd.Series[int]]:
    """Return the churn guide's customers and who left: `load_and_prepare_data` of guides/churn/ml_pipeline.py."""
    random, count = np.random.RandomState(42), 1000
    rows = pd.DataFrame(
        {
            "tenure_months": random.randint(1, 72, count),
            "monthly_charges": random.uniform(20, 100, count),
            "total_charges": random.uniform(100, 5000, count),
            "num_support_tickets": random.poisson(2, count),
            "contract_type": random.choice([0, 1, 2], count),
            "payment_method": random.choice([0, 1, 2, 3], count),
        }
    )
    probability = 0.3 - rows["tenure_months"] / 100 + rows["monthly_charges"] / 200 + rows["num_support_tickets"] / 20
    return rows, (probability + random.normal(0, 0.1, count) > 0.3).astype(int)


def boosting() -> Model:
    """Train the churn guide's gradient boosting, on the columns as the guide's requests have them."""
    rows, left = churn_data()
    estimator = GradientBoostingClassifier(n_estimators=100, max_depth=5, learning_rate=0.1, random_state=42)
    return Model("boosting", "churn, gradient boosting of 100 trees", estimator.fit(rows, left), rows)


def logistic() -> Model:
    """Train a logistic regression on the same customers."""
    rows, left = churn_data()
    estimator = make_pipeline(StandardScaler(), LogisticRegression(random_state=42))
    return Model("logistic", "churn, scaled logistic regression", estimator.fit(rows, left), rows)


MODELS: dict[str, Callable[[], Model]] = {FOREST: forest, "boosting": boosting, "logistic": logistic}
