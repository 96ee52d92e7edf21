from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
import yaml

from modelyard_serving.errors import Reason, StartupError
from tests.unit.serving.flavors.saved import FEATURES, LABELS, VALUES, mlflow, mlflows, ours, quiet, same

SMALL: dict[str, Any] = {"n_estimators": 3, "max_depth": 2}


def booster(**params: Any) -> xgboost.Booster:
    return xgboost.train(
        {"objective": "multi:softprob", "num_class": 3, **params}, xgboost.DMatrix(FEATURES, LABELS), num_boost_round=2
    )


def save(model: Any, path: Path, **options: Any) -> Path:
    with quiet():
        mlflow.xgboost.save_model(model, path, pip_requirements=[], **options)
    return path


def wrapped(directory: Path) -> Any:
    """MLflow's wrapper itself, which gets what the signature lets through."""
    return mlflow.xgboost._load_pyfunc(str(directory))


@pytest.mark.parametrize("format_", ["ubj", "json", "xgb"])
@pytest.mark.parametrize(
    "make",
    [
        booster,
        lambda: xgboost.XGBClassifier(**SMALL, n_jobs=2).fit(FEATURES, LABELS),
        lambda: xgboost.XGBRegressor(**SMALL).fit(FEATURES, VALUES),
        lambda: xgboost.XGBRFClassifier(**SMALL).fit(FEATURES, LABELS),
        lambda: xgboost.XGBRanker(**SMALL).fit(FEATURES, LABELS, group=[60]),
    ],
)
def test_answers_as_mlflow_does(make: Any, format_: str, tmp_path: Path) -> None:
    with quiet():
        directory = save(make(), tmp_path / "model", model_format=format_)
        predictor = ours(directory)
    assert same(predictor.predict(FEATURES, None), mlflows(directory, FEATURES))
    assert predictor.batchable
    assert not predictor.takes_tables


@pytest.mark.parametrize("params", [{"output_margin": True}, {"pred_leaf": True}, {"iteration_range": (0, 1)}])
def test_params_are_those_of_the_booster(params: dict[str, Any], tmp_path: Path) -> None:
    directory = save(booster(), tmp_path / "model")
    assert same(ours(directory).predict(FEATURES, params), wrapped(directory).predict(FEATURES, params))


def test_params_of_a_model_of_the_scikit_learn_api_are_those_of_its_predict(tmp_path: Path) -> None:
    directory = save(xgboost.XGBRegressor(**SMALL).fit(FEATURES, VALUES), tmp_path / "model")
    params = {"iteration_range": (0, 1), "pred_leaf": True}  # the second is none of them
    assert same(ours(directory).predict(FEATURES, params), wrapped(directory).predict(FEATURES, params))


def test_probabilities_are_there_on_request(tmp_path: Path) -> None:
    classifier = xgboost.XGBClassifier(**SMALL).fit(FEATURES, LABELS)
    methods = ours(save(classifier, tmp_path / "model")).methods
    assert list(methods) == ["predict", "predict_proba"]
    assert same(methods["predict_proba"](FEATURES, None), classifier.predict_proba(FEATURES))


def test_columns_with_other_names_are_refused_as_mlflow_does(tmp_path: Path) -> None:
    predictor = ours(save(booster(), tmp_path / "model"))
    with pytest.raises(ValueError, match="feature_names"):
        predictor.predict(FEATURES.rename(columns={"a": "z"}), None)


def test_a_linear_booster_predicts_one_request_at_a_time(tmp_path: Path) -> None:
    """XGBoost lets several threads predict only with trees."""
    with quiet():
        linear = xgboost.train({"booster": "gblinear"}, xgboost.DMatrix(FEATURES, VALUES), num_boost_round=2)
        predictor = ours(save(linear, tmp_path / "model"))
        expected = predictor.predict(FEATURES, None)
        got: list[Any] = []
        threads = [
            threading.Thread(target=lambda: got.extend(predictor.predict(FEATURES, None) for _ in range(20)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert not predictor.batchable
    assert len(got) == 80
    assert all(same(each, expected) for each in got)


def test_models_of_old_name_no_class(tmp_path: Path) -> None:
    directory = save(booster(), tmp_path / "model")
    document = yaml.safe_load((directory / "MLmodel").read_text())
    del document["flavors"]["xgboost"]["model_class"]
    (directory / "MLmodel").write_text(yaml.safe_dump(document))
    assert np.asarray(ours(directory).predict(FEATURES, None)).shape == (60, 3)


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"data": "../model.ubj"}, Reason.MODEL_INVALID, "outside the model directory"),
        ({"data": "absent.ubj"}, Reason.MODEL_INVALID, "absent.ubj is missing"),
        ({"data": "MLmodel"}, Reason.LOAD_FAILED, "MLmodel cannot be loaded"),
        ({"model_class": "os.system"}, Reason.MODEL_INVALID, "'os.system' is no XGBoost model"),
        ({"model_class": "nowhere_at_all.Model"}, Reason.MISSING_DEPENDENCY, "'nowhere_at_all'"),
        ({"model_class": "xgboost.sklearn.NoSuchClass"}, Reason.MODEL_INVALID, "NoSuchClass"),
    ],
)
def test_says_why_a_model_cannot_be_loaded(change: dict[str, str], reason: Reason, says: str, tmp_path: Path) -> None:
    directory = save(booster(), tmp_path / "model")
    document = yaml.safe_load((directory / "MLmodel").read_text())
    document["flavors"]["xgboost"].update(change)
    (directory / "MLmodel").write_text(yaml.safe_dump(document))
    with pytest.raises(StartupError) as raised:
        ours(directory)
    assert raised.value.reason is reason
    assert says in raised.value.message


def test_one_row_is_a_table_too(tmp_path: Path) -> None:
    predictor = ours(save(booster(), tmp_path / "model"))
    assert isinstance(FEATURES.head(1), pd.DataFrame)
    assert predictor.predict(FEATURES.head(1), {}).shape == (1, 3)
