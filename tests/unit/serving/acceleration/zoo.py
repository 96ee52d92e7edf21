"""Small models of all kinds, each with what has to come of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from modelyard_serving.acceleration.original import Feature, Original
from modelyard_serving.call import Predictor
from modelyard_serving.flavors.methods import methods_of, plain

RANDOM = np.random.default_rng(11)
ROWS = 300
NUMBERS = pd.DataFrame(RANDOM.normal([0, 5, -3, 100], [1, 2, 0.1, 40], (ROWS, 4)), columns=["a", "b", "c", "d"])
MIXED = pd.DataFrame(
    {
        "tenure": RANDOM.integers(0, 72, ROWS),
        "charge": RANDOM.normal(70, 30, ROWS),
        "plan": RANDOM.choice(["basic", "plus", "max"], ROWS),
        "city": RANDOM.choice(["Köln", "Oslo", "Rome"], ROWS),
    }
)
SCORE = NUMBERS["a"] + NUMBERS["b"] / 3 + 8 * NUMBERS["c"] + NUMBERS["d"] / 50 + RANDOM.normal(0, 0.3, ROWS)
THREE = np.digitize(SCORE, SCORE.quantile([0.3, 0.7]))
TWO = (SCORE.median() < SCORE).to_numpy().astype(int)
WORDS = np.array(["low", "middle", "high"])[THREE]
GAPS = NUMBERS.mask(RANDOM.random(NUMBERS.shape) < 0.1)
MIXED_GAPS = MIXED.astype({"tenure": float}).mask(RANDOM.random(MIXED.shape) < 0.1)
CHURNED = ((MIXED["charge"] > 70) & (MIXED["tenure"] < 40) | (MIXED["plan"] == "max")).to_numpy().astype(int)

VERIFIED, DIFFER, NOT_CONVERTIBLE = "Verified", "AnswersDiffer", "NotConvertible"


@dataclass(frozen=True)
class Animal:
    """A model to be fitted."""

    make: Callable[[], Any]
    target: Any
    outcome: str = VERIFIED
    data: pd.DataFrame = field(default_factory=lambda: NUMBERS)
    bits: bool = False
    """Whether `predict` has to be equal to the last bit."""

    def fitted(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.make().fit(self.data, self.target)


def _prepared(final: Any, *, ordinal: bool = False) -> Any:
    if ordinal:
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    else:
        encoder = OneHotEncoder(handle_unknown="ignore")
    columns = [("texts", encoder, ["plan", "city"]), ("numbers", StandardScaler(), ["tenure", "charge"])]
    return make_pipeline(ColumnTransformer(columns), final)


def _filled(final: Any) -> Any:
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return make_pipeline(
        ColumnTransformer([("texts", texts, ["plan", "city"]), ("numbers", numbers, ["charge"])]), final
    )


def _strict(final: Any) -> Any:
    columns = [("texts", OneHotEncoder(), ["plan", "city"]), ("rest", "passthrough", ["tenure", "charge"])]
    return make_pipeline(ColumnTransformer(columns), final)


SMALL: dict[str, Any] = {"n_estimators": 10, "random_state": 0}
XGB: dict[str, Any] = {"n_estimators": 10, "max_depth": 3, "n_jobs": 1}
LGB: dict[str, Any] = {"n_estimators": 10, "num_leaves": 7, "n_jobs": 1, "verbose": -1}

ZOO: Mapping[str, Animal] = {
    "decision tree": Animal(lambda: tree.DecisionTreeClassifier(max_depth=4), THREE, bits=True),
    "decision tree, regression": Animal(tree.DecisionTreeRegressor, SCORE, bits=True),
    "forest, whole numbers": Animal(lambda: ensemble.RandomForestClassifier(**SMALL), THREE, bits=True),
    "forest, shallow": Animal(lambda: ensemble.RandomForestClassifier(max_depth=3, **SMALL), TWO, bits=True),
    "forest, texts": Animal(lambda: ensemble.RandomForestClassifier(**SMALL), WORDS, bits=True),
    "forest, truth values": Animal(lambda: ensemble.RandomForestClassifier(**SMALL), TWO == 1, bits=True),
    "forest, floats": Animal(lambda: ensemble.RandomForestClassifier(**SMALL), THREE.astype(float), bits=True),
    "forest, gaps": Animal(lambda: ensemble.RandomForestClassifier(**SMALL), THREE, data=GAPS, bits=True),
    "forest, several labels": Animal(
        lambda: ensemble.RandomForestClassifier(**SMALL), np.column_stack([THREE, TWO]), bits=True
    ),
    "forest, regression": Animal(lambda: ensemble.RandomForestRegressor(**SMALL), SCORE, bits=True),
    "forest, several numbers": Animal(
        lambda: ensemble.RandomForestRegressor(**SMALL), np.column_stack([SCORE, -SCORE]), bits=True
    ),
    "extra trees": Animal(lambda: ensemble.ExtraTreesClassifier(**SMALL), THREE, bits=True),
    "extra trees, regression": Animal(lambda: ensemble.ExtraTreesRegressor(**SMALL), SCORE, bits=True),
    "gradient boosting": Animal(lambda: ensemble.GradientBoostingClassifier(**SMALL), TWO, bits=True),
    "gradient boosting, three classes": Animal(lambda: ensemble.GradientBoostingClassifier(**SMALL), WORDS, bits=True),
    "gradient boosting, exponential": Animal(
        lambda: ensemble.GradientBoostingClassifier(loss="exponential", **SMALL), TWO, bits=True
    ),
    "gradient boosting, regression": Animal(lambda: ensemble.GradientBoostingRegressor(**SMALL), SCORE, bits=True),
    "gradient boosting on a linear model": Animal(
        lambda: ensemble.GradientBoostingRegressor(init=linear_model.LinearRegression(), **SMALL),
        SCORE,
        NOT_CONVERTIBLE,
    ),
    "histogram boosting": Animal(lambda: ensemble.HistGradientBoostingClassifier(max_iter=10), TWO, bits=True),
    "histogram boosting, gaps": Animal(
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=10), WORDS, data=GAPS, bits=True
    ),
    "histogram boosting, regression": Animal(
        lambda: ensemble.HistGradientBoostingRegressor(max_iter=10), SCORE, bits=True
    ),
    "histogram boosting, Poisson": Animal(
        lambda: ensemble.HistGradientBoostingRegressor(max_iter=10, loss="poisson"), THREE + 0.5
    ),
    "XGBoost": Animal(lambda: xgboost.XGBClassifier(**XGB), TWO, bits=True),
    "XGBoost, three classes": Animal(lambda: xgboost.XGBClassifier(**XGB), THREE, bits=True),
    "XGBoost, regression": Animal(lambda: xgboost.XGBRegressor(**XGB), SCORE, bits=True),
    "XGBoost, gaps": Animal(lambda: xgboost.XGBClassifier(**XGB), TWO, data=GAPS, bits=True),
    "XGBoost, Poisson": Animal(lambda: xgboost.XGBRegressor(objective="count:poisson", **XGB), THREE),
    "XGBoost, linear": Animal(lambda: xgboost.XGBRegressor(booster="gblinear"), SCORE, NOT_CONVERTIBLE),
    "LightGBM": Animal(lambda: lightgbm.LGBMClassifier(**LGB), TWO, bits=True),
    "LightGBM, three classes": Animal(lambda: lightgbm.LGBMClassifier(**LGB), WORDS, bits=True),
    "LightGBM, regression": Animal(lambda: lightgbm.LGBMRegressor(**LGB), SCORE, bits=True),
    "LightGBM, gaps": Animal(lambda: lightgbm.LGBMClassifier(**LGB), TWO, data=GAPS, bits=True),
    "LightGBM, forest": Animal(
        lambda: lightgbm.LGBMClassifier(boosting_type="rf", subsample=0.5, subsample_freq=1, **LGB),
        TWO,
        NOT_CONVERTIBLE,
    ),
    "logistic regression": Animal(lambda: linear_model.LogisticRegression(max_iter=500), TWO),
    "logistic regression, three classes": Animal(lambda: linear_model.LogisticRegression(max_iter=500), WORDS),
    "linear regression": Animal(linear_model.LinearRegression, SCORE),
    "ridge": Animal(linear_model.Ridge, SCORE),
    "ridge, several numbers": Animal(linear_model.Ridge, np.column_stack([SCORE, -SCORE])),
    "linear support vectors": Animal(svm.LinearSVC, THREE),
    "support vectors": Animal(svm.SVC, THREE, DIFFER),
    "neighbours": Animal(neighbors.KNeighborsClassifier, THREE, DIFFER),
    "naive Bayes": Animal(naive_bayes.GaussianNB, THREE),
    "network": Animal(lambda: neural_network.MLPClassifier((8,), max_iter=50, random_state=0), THREE),
    "scaler and logistic regression": Animal(
        lambda: make_pipeline(StandardScaler(), linear_model.LogisticRegression()), TWO
    ),
    "scaler and forest": Animal(
        lambda: make_pipeline(StandardScaler(), ensemble.RandomForestClassifier(**SMALL)), THREE
    ),
    "imputer, scaler, gradient boosting": Animal(
        lambda: make_pipeline(SimpleImputer(), MinMaxScaler(), ensemble.GradientBoostingClassifier(**SMALL)),
        TWO,
        data=GAPS,
    ),
    "one-hot and logistic regression": Animal(
        lambda: _prepared(linear_model.LogisticRegression()), CHURNED, data=MIXED
    ),
    "one-hot and forest": Animal(lambda: _prepared(ensemble.RandomForestClassifier(**SMALL)), CHURNED, data=MIXED),
    "ordinal and gradient boosting": Animal(
        lambda: _prepared(ensemble.GradientBoostingClassifier(**SMALL), ordinal=True), CHURNED, data=MIXED
    ),
    "imputers, one-hot and logistic regression": Animal(
        lambda: _filled(linear_model.LogisticRegression(max_iter=500)), CHURNED, data=MIXED_GAPS
    ),
    "strict one-hot and forest": Animal(lambda: _strict(ensemble.RandomForestClassifier(**SMALL)), CHURNED, data=MIXED),
    "one-hot and XGBoost": Animal(lambda: _prepared(xgboost.XGBClassifier(**XGB)), CHURNED, data=MIXED),
    "one-hot and LightGBM": Animal(lambda: _prepared(lightgbm.LGBMClassifier(**LGB)), CHURNED, data=MIXED),
}


def original(estimator: Any, data: pd.DataFrame) -> Original:
    features = tuple(Feature(str(name), np.dtype(dtype)) for name, dtype in data.dtypes.items())
    return Original(Predictor(methods_of(estimator, estimator.predict, plain)), estimator, "predict", features)


def columns(data: pd.DataFrame, rows: int = 20) -> list[Any]:
    return [data[name].to_numpy()[:rows] for name in data.columns]
