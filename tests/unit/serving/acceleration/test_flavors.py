"""Models as MLflow's XGBoost and LightGBM flavors store them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import pytest
import xgboost

from modelyard_serving.acceleration.accelerate import Limits, Outcome, accelerate
from tests.unit.serving.acceleration import zoo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.lightgbm
    import mlflow.xgboost
    from mlflow.models import infer_signature


def _xgboost_booster() -> Any:
    return xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(zoo.NUMBERS, zoo.TWO), 10)


def _lightgbm_booster() -> Any:
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(zoo.NUMBERS, zoo.THREE), 10)


@pytest.mark.parametrize(
    ("make", "flavor"),
    [
        (_xgboost_booster, mlflow.xgboost),
        (lambda: xgboost.XGBClassifier(**zoo.XGB).fit(zoo.NUMBERS, zoo.THREE), mlflow.xgboost),
        (_lightgbm_booster, mlflow.lightgbm),
        (lambda: lightgbm.LGBMClassifier(**zoo.LGB).fit(zoo.NUMBERS, zoo.WORDS), mlflow.lightgbm),
    ],
)
def test_boosters_and_estimators_are_verified(make: Callable[[], Any], flavor: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = infer_signature(zoo.NUMBERS)
        flavor.save_model(make(), tmp_path / "model", signature=signature, pip_requirements=[])

    result = accelerate(tmp_path / "model", None, Limits(seconds=30, rows=1500))

    assert result.outcome is Outcome.VERIFIED, result.message
    assert result.evidence["methods"]["predict"]["wrongRows"] == 0
