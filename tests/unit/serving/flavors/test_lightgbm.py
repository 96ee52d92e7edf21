from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import lightgbm
import pytest
import yaml

from modelyard_serving.errors import Reason, StartupError
from tests.unit.serving.flavors.saved import FEATURES, LABELS, VALUES, mlflow, mlflows, ours, quiet, same

SMALL: dict[str, Any] = {"n_estimators": 3, "verbose": -1}


def booster() -> lightgbm.Booster:
    return lightgbm.train(
        {"objective": "multiclass", "num_class": 3, "verbose": -1}, lightgbm.Dataset(FEATURES, LABELS), 3
    )


def classifier() -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(**SMALL).fit(FEATURES, LABELS)


def save(model: Any, path: Path, **options: Any) -> Path:
    with quiet():
        mlflow.lightgbm.save_model(model, path, pip_requirements=[], **options)
    return path


def with_conf(directory: Path, **change: Any) -> Path:
    """Another configuration of the flavor; None takes an entry away."""
    document = yaml.safe_load((directory / "MLmodel").read_text())
    conf = document["flavors"]["lightgbm"]
    document["flavors"]["lightgbm"] = {name: value for name, value in {**conf, **change}.items() if value is not None}
    (directory / "MLmodel").write_text(yaml.safe_dump(document))
    return directory


@pytest.mark.parametrize(
    ("make", "format_", "file"),
    [
        (booster, "skops", "model.lgb"),
        (classifier, "skops", "model.skops"),
        (classifier, "cloudpickle", "model.pkl"),
        (classifier, "pickle", "model.pkl"),
        (lambda: lightgbm.LGBMRegressor(**SMALL, n_jobs=2).fit(FEATURES, VALUES), "skops", "model.skops"),
        (lambda: lightgbm.LGBMRanker(**SMALL).fit(FEATURES, LABELS, group=[60]), "pickle", "model.pkl"),
    ],
)
def test_answers_as_mlflow_does(make: Any, format_: str, file: str, tmp_path: Path) -> None:
    directory = save(make(), tmp_path / "model", serialization_format=format_)
    assert (directory / file).exists()
    predictor = ours(directory)
    with quiet():
        answer = predictor.predict(FEATURES, {"raw_score": True})  # MLflow passes LightGBM no params
    assert same(answer, mlflows(directory, FEATURES))
    assert predictor.batchable


def test_probabilities_are_there_on_request(tmp_path: Path) -> None:
    model = classifier()
    methods = ours(save(model, tmp_path / "model")).methods
    assert {"predict", "predict_proba"} <= set(methods)
    assert same(methods["predict_proba"](FEATURES, None), model.predict_proba(FEATURES))


def test_models_of_old_name_neither_class_nor_format(tmp_path: Path) -> None:
    old = with_conf(save(booster(), tmp_path / "booster"), model_class=None, serialization_format=None)
    assert ours(old).predict(FEATURES, None).shape == (60, 3)
    pickled = with_conf(save(classifier(), tmp_path / "api", serialization_format="pickle"), serialization_format=None)
    assert ours(pickled).predict(FEATURES, None).shape == (60,)


@pytest.mark.parametrize(
    ("change", "content", "reason", "says"),
    [
        ({"data": "absent.lgb"}, None, Reason.MODEL_INVALID, "absent.lgb is missing"),
        ({"serialization_format": "dill"}, None, Reason.MODEL_INVALID, "dill"),
        ({}, b"no pickle", Reason.LOAD_FAILED, "UnpicklingError"),
        ({}, pickle.dumps("a text"), Reason.LOAD_FAILED, "str cannot predict"),
        ({"model_class": "lightgbm.basic.Booster"}, b"no model", Reason.LOAD_FAILED, "model.pkl cannot be loaded"),
    ],
)
def test_says_why_a_model_cannot_be_loaded(
    change: dict[str, str], content: bytes | None, reason: Reason, says: str, tmp_path: Path
) -> None:
    directory = with_conf(save(classifier(), tmp_path / "model", serialization_format="pickle"), **change)
    if content is not None:
        (directory / "model.pkl").write_bytes(content)
    with pytest.raises(StartupError) as raised:
        ours(directory)
    assert raised.value.reason is reason
    assert says in raised.value.message
