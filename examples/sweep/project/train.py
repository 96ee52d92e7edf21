"""Trains a small network on the wine data, epoch by epoch, and logs what a sweep goes by."""

from __future__ import annotations

import argparse

import mlflow
import numpy as np
import sklearn
from mlflow.models import infer_signature
from sklearn.datasets import load_wine
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    """Train with what the command line says, and log it to the trial's run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--optimizer", choices=["sgd", "adam"])
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--momentum", type=float)
    parser.add_argument("--hidden", type=int)
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()

    wine = load_wine(as_frame=True)
    train, test, labels, truth = train_test_split(
        wine.data, wine.target, test_size=0.3, random_state=42, stratify=wine.target
    )
    scaler = StandardScaler().fit(train)
    network = MLPClassifier(
        hidden_layer_sizes=(given.hidden,),
        solver=given.optimizer,
        learning_rate_init=given.learning_rate,
        momentum=given.momentum,
        random_state=42,
    )
    # The run is the one that Modelyard made for this trial: MLFLOW_RUN_ID names it.
    with mlflow.start_run():
        data = mlflow.data.from_pandas(wine.frame, name="wine", targets="target")  # type: ignore[attr-defined]
        mlflow.log_input(data, context="training")
        for epoch in range(1, given.epochs + 1):
            network.partial_fit(scaler.transform(train), labels, classes=np.unique(wine.target))
            # One value an epoch: by these, hopeless trials are told from others.
            mlflow.log_metric("loss", log_loss(truth, network.predict_proba(scaler.transform(test))), step=epoch)
        mlflow.log_metric("accuracy", accuracy_score(truth, network.predict(scaler.transform(test))))
        mlflow.sklearn.log_model(
            make_pipeline(scaler, network),
            name="model",
            serialization_format="cloudpickle",
            signature=infer_signature(test, truth),
            # Finding them out by loading the model once more takes longer than the training.
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
        )


if __name__ == "__main__":
    main()
