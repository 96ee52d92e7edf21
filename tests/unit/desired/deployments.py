"""ModelDeployments and a version, as the tests of the builders and of the API server have them."""

from __future__ import annotations

from typing import Any

from modelyard.api import ModelDeployment
from modelyard.api.serving import ServedModel

Json = dict[str, Any]

V3 = ServedModel("churn-prediction-model", 3, "s3://modelyard/artifacts/1/model", "sha256:" + "3" * 64)
V4 = ServedModel(V3.name, 4, V3.artifact, "sha256:" + "4" * 64)


def deployment(*, annotations: dict[str, str] | None = None, **rest: Any) -> ModelDeployment:
    """Return the ModelDeployment `churn` of the namespace `ml`, with `rest` as its `spec.rest`."""
    return ModelDeployment.parse(
        {
            "metadata": {"name": "churn", "namespace": "ml", "uid": "u-1", "annotations": annotations or {}},
            "spec": {"model": {"name": "churn-prediction-model", "stage": "Production"}, "rest": rest},
        }
    )
