"""Trains one configuration and logs it to the MLflow run that Modelyard (or `mlflow run`) has made for it."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import Any

import churn
import mlflow
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn.base import ClassifierMixin
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

CONFIGURATIONS: dict[str, tuple[type[ClassifierMixin], dict[str, Any]]] = {
    "rf-baseline": (RandomForestClassifier, {"n_estimators": 100, "max_depth": 10, "random_state": 42}),
    "rf-tuned": (
        RandomForestClassifier,
        {"n_estimators": 200, "max_depth": 15, "min_samples_split": 5, "random_state": 42},
    ),
    "gb-baseline": (
        GradientBoostingClassifier,
        {"n_estimators": 100, "max_depth": 5, "learning_rate": 0.1, "random_state": 42},
    ),
}
FOREST_PARAMETERS = ("n_estimators", "max_depth", "min_samples_split", "random_state")


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configuration", choices=[*CONFIGURATIONS, "forest"], required=True)
    for name in FOREST_PARAMETERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    return parser.parse_args()


def chosen(arguments: argparse.Namespace) -> tuple[type[ClassifierMixin], dict[str, Any]]:
    """Return the model's class and its parameters."""
    if arguments.configuration in CONFIGURATIONS:
        return CONFIGURATIONS[arguments.configuration]
    return RandomForestClassifier, {name: getattr(arguments, name) for name in FOREST_PARAMETERS}


def evaluate(
    model: Pipeline, train: tuple[pd.DataFrame, pd.Series], test: tuple[pd.DataFrame, pd.Series]
) -> dict[str, float]:
    """Return the metrics on the test set, and those of a cross-validation on the training set."""
    predicted = model.predict(test[0])
    scaled = model["scaler"].transform(train[0])
    scores = cross_val_score(model["model"], scaled, train[1], cv=5, scoring="f1")
    return {
        "accuracy": accuracy_score(test[1], predicted),
        "precision": precision_score(test[1], predicted),
        "recall": recall_score(test[1], predicted),
        "f1_score": f1_score(test[1], predicted),
        "cv_f1_mean": scores.mean(),
        "cv_f1_std": scores.std(),
    }


def main() -> None:
    """Train, evaluate, log."""
    model_class, parameters = chosen(parse_arguments())
    data = churn.load()
    features, target = data[churn.COLUMNS], data[churn.TARGET]
    train_x, test_x, train_y, test_y = train_test_split(
        features, target, test_size=0.2, random_state=42, stratify=target
    )

    with mlflow.start_run():
        mlflow.set_tags({"model_type": model_class.__name__, "developer": "data-science-team"})
        # Parameters of the entry point are in the run already; logging them again with the same value is no error.
        mlflow.log_params(parameters)
        mlflow.log_params(
            {"train_samples": len(train_y), "test_samples": len(test_y), "feature_count": train_x.shape[1]}
        )

        # The scaler is part of the model, so that raw customers can be sent to it.
        model = Pipeline([("scaler", StandardScaler()), ("model", model_class(**parameters))])
        model.fit(train_x, train_y)
        metrics = evaluate(model, (train_x, train_y), (test_x, test_y))
        mlflow.log_metrics(metrics)

        # Charges may be whole numbers in a request, and counts may be missing: doubles take both.
        example = train_x.head(3).astype(float)
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(example, model.predict(test_x)),
            input_example=example,
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
            skops_trusted_types=["sklearn.tree._tree.Tree"],
            # Said here, since finding them out would load the model once more in a process of its own.
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn", "skops", "pandas")],
        )

        importance = pd.DataFrame({"feature": churn.COLUMNS, "importance": model["model"].feature_importances_})
        importance.sort_values("importance", ascending=False).to_csv("feature_importance.csv", index=False)
        mlflow.log_artifact("feature_importance.csv")
        print(f"f1_score {metrics['f1_score']:.4f}")


if __name__ == "__main__":
    main()
