"""What the table promises: the same bytes, whatever rows are predicted together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from threadpoolctl import threadpool_limits

from modelyard_serving.flavors.batching import TABLE, rows_are_independent
from modelyard_serving.flavors.methods import ON_REQUEST

RANDOM = np.random.default_rng(3)
ROWS = 200
NUMBERS = pd.DataFrame(RANDOM.normal(size=(ROWS, 5)), columns=list("abcde"))
MIXED = NUMBERS.assign(plan=RANDOM.choice(["basic", "plus", "max"], ROWS)).mask(RANDOM.random((ROWS, 6)) < 0.05)
VALUES = (NUMBERS["a"] * 2 + NUMBERS["b"] ** 2).to_numpy()
CLASSES = {count: RANDOM.integers(0, count, ROWS) for count in (2, 7, 12)}


def classifiers(count: int) -> list[Any]:
    return [
        DecisionTreeClassifier(max_depth=4),
        ExtraTreeClassifier(max_depth=4),
        RandomForestClassifier(9, max_depth=4),
        ExtraTreesClassifier(9, max_depth=4),
        GradientBoostingClassifier(n_estimators=3),
        *([HistGradientBoostingClassifier(max_iter=3)] if count < 8 else []),
        xgboost.XGBClassifier(n_estimators=3, n_jobs=1),
        xgboost.XGBRFClassifier(n_estimators=3, n_jobs=1),
        lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1),
        make_pipeline(StandardScaler(), RobustScaler(), MinMaxScaler(), MaxAbsScaler(), RandomForestClassifier(3)),
    ]


def regressors() -> list[Any]:
    return [
        DecisionTreeRegressor(max_depth=4),
        ExtraTreeRegressor(max_depth=4),
        RandomForestRegressor(9, max_depth=4),
        ExtraTreesRegressor(9, max_depth=4),
        GradientBoostingRegressor(n_estimators=5, init="zero"),
        HistGradientBoostingRegressor(max_iter=5),
        xgboost.XGBRegressor(n_estimators=5, n_jobs=1),
        xgboost.XGBRegressor(n_estimators=5, n_jobs=1, booster="dart"),
        xgboost.XGBRFRegressor(n_estimators=5, n_jobs=1),
        lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1),
        lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1, linear_tree=True),
    ]


def boosters() -> list[Any]:
    group = [ROWS // 2] * 2
    ranks = CLASSES[2]
    return [
        xgboost.XGBRanker(n_estimators=3, n_jobs=1).fit(NUMBERS, ranks, group=group),
        lightgbm.LGBMRanker(n_estimators=3, n_jobs=1, verbose=-1).fit(NUMBERS, ranks, group=group),
        lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1).fit(NUMBERS, ranks).booster_,
    ]


def of_mixed_columns() -> Any:
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), list("abc")),
            ("left", SimpleImputer(strategy="median"), ["d"]),
            ("one", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
            ("two", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["plan"]),
            ("none", "drop", ["e"]),
        ]
    )
    return Pipeline([("columns", columns), ("as it is", "passthrough"), ("forest", RandomForestClassifier(5))])


def fitted() -> list[Any]:
    """An estimator of every class in the table; classifiers with few, seven and many classes."""
    return [
        *(each.fit(NUMBERS, labels) for count, labels in CLASSES.items() for each in classifiers(count)),
        *(each.fit(NUMBERS, VALUES) for each in regressors()),
        RandomForestRegressor(5).fit(NUMBERS, np.column_stack([VALUES, VALUES * 2])),
        *boosters(),
    ]


def assert_same_bytes(function: Callable[[pd.DataFrame], Any], rows: pd.DataFrame) -> None:
    together = np.asarray(function(rows))
    for size, until in ((1, 30), (2, 20), (7, ROWS), (64, ROWS)):
        parts = [np.asarray(function(rows.iloc[start : min(start + size, until)])) for start in range(0, until, size)]
        assert all(part.dtype == together.dtype for part in parts)
        assert np.concatenate(parts).tobytes() == together[:until].tobytes(), f"{size} rows"


def assert_rows_are_independent(estimator: Any, rows: pd.DataFrame) -> None:
    assert rows_are_independent(estimator)
    for name in ("predict", *ON_REQUEST):
        if function := getattr(estimator, name, None):
            with np.errstate(divide="ignore"):  # the logarithm of probabilities that are 0
                assert_same_bytes(function, rows)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the server has it."""
    with threadpool_limits(1):
        yield


def test_every_listed_estimator_answers_a_row_the_same_whatever_rows_are_beside_it() -> None:
    tried = set()
    for estimator in fitted():
        assert_rows_are_independent(estimator, NUMBERS)
        tried.add(f"{type(estimator).__module__}.{type(estimator).__qualname__}")
    elsewhere = ("sklearn.preprocessing.", "sklearn.impute.", "sklearn.compose.", "xgboost.core.")
    assert {name for name in TABLE if not name.startswith(elsewhere)} == tried


def test_pipelines_of_listed_transformers_do_too() -> None:
    assert_rows_are_independent(of_mixed_columns().fit(MIXED, CLASSES[2]), MIXED)


def test_xgboosts_booster_does_too() -> None:
    booster = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(NUMBERS, CLASSES[2]).get_booster()
    assert rows_are_independent(booster)
    assert_same_bytes(lambda rows: booster.predict(xgboost.DMatrix(rows)), NUMBERS)


class Subclass(DecisionTreeClassifier):  # type: ignore[misc]
    pass


class Custom(BaseEstimator):  # type: ignore[misc]
    def predict(self, data: Any) -> Any:
        return data - data.mean()


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        KNeighborsClassifier(),
        HistGradientBoostingClassifier(max_iter=1),  # with many classes: its probabilities differ for one row
        GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()),
        xgboost.XGBClassifier(n_estimators=2, booster="gblinear", n_jobs=1),
        make_pipeline(FunctionTransformer(), DecisionTreeClassifier()),
        make_pipeline(ColumnTransformer([("all", FunctionTransformer(), ["a"])]), DecisionTreeClassifier()),
        make_pipeline(SimpleImputer(add_indicator=True), DecisionTreeClassifier()),
        make_pipeline(StandardScaler(), LogisticRegression()),
        Subclass(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_nothing_else_is_taken_for_independent(estimator: Any) -> None:
    assert not rows_are_independent(estimator.fit(NUMBERS, CLASSES[12]))
    assert not rows_are_independent(Custom())
    assert not rows_are_independent(LinearRegression())
