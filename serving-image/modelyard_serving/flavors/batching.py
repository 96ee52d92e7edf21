"""Which estimators may predict the rows of several requests at a time.

Only those whose answer to a row is the same, to the last bit, whatever rows there are beside it: trees and what adds
up trees one row at a time. Linear models, support vectors, networks and neighbours go through BLAS, which multiplies
matrices of other heights in another order. What is not listed here is not batched; the tests compare bytes for each
entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Condition = Callable[[Any], bool]


def _always(_: Any) -> bool:
    return True


def rows_are_independent(estimator: Any) -> bool:
    """Whether the estimator, which is fitted and uses one job, is in the table and meets its entry's condition.

    By its very class: what a subclass does is not known.
    """
    condition = TABLE.get(f"{type(estimator).__module__}.{type(estimator).__qualname__}")
    return condition is not None and condition(estimator)


def _starts_from_a_constant(boosting: Any) -> bool:
    """Gradient boosting may begin with the answer of any estimator."""
    return boosting.init is None or boosting.init == "zero"


def _few_classes(boosting: Any) -> bool:
    """Eight numbers or more numpy adds up in another order where there is but one row: they lie otherwise in memory."""
    return len(getattr(boosting, "classes_", ())) < 8


def _steps_are_independent(pipeline: Any) -> bool:
    return all(step in (None, "passthrough") or rows_are_independent(step) for _, step in pipeline.steps)


def _columns_are_independent(transformer: Any) -> bool:
    return all(
        step in ("drop", "passthrough") or rows_are_independent(step) for _, step, _ in transformer.transformers_
    )


def _no_indicator(imputer: Any) -> bool:
    return not imputer.add_indicator


def _booster_of_trees(booster: Any) -> bool:
    return json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] in ("gbtree", "dart")


def _fitted_with_trees(estimator: Any) -> bool:
    return _booster_of_trees(estimator.get_booster())


TABLE: Mapping[str, Condition] = {
    "sklearn.tree._classes.DecisionTreeClassifier": _always,
    "sklearn.tree._classes.DecisionTreeRegressor": _always,
    "sklearn.tree._classes.ExtraTreeClassifier": _always,
    "sklearn.tree._classes.ExtraTreeRegressor": _always,
    "sklearn.ensemble._forest.RandomForestClassifier": _always,
    "sklearn.ensemble._forest.RandomForestRegressor": _always,
    "sklearn.ensemble._forest.ExtraTreesClassifier": _always,
    "sklearn.ensemble._forest.ExtraTreesRegressor": _always,
    "sklearn.ensemble._gb.GradientBoostingClassifier": _starts_from_a_constant,
    "sklearn.ensemble._gb.GradientBoostingRegressor": _starts_from_a_constant,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier": _few_classes,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor": _always,
    "xgboost.core.Booster": _booster_of_trees,
    "xgboost.sklearn.XGBClassifier": _fitted_with_trees,
    "xgboost.sklearn.XGBRegressor": _fitted_with_trees,
    "xgboost.sklearn.XGBRanker": _fitted_with_trees,
    "xgboost.sklearn.XGBRFClassifier": _fitted_with_trees,
    "xgboost.sklearn.XGBRFRegressor": _fitted_with_trees,
    "lightgbm.basic.Booster": _always,
    "lightgbm.sklearn.LGBMClassifier": _always,
    "lightgbm.sklearn.LGBMRegressor": _always,
    "lightgbm.sklearn.LGBMRanker": _always,
    # What changes each value by itself.
    "sklearn.preprocessing._data.StandardScaler": _always,
    "sklearn.preprocessing._data.MinMaxScaler": _always,
    "sklearn.preprocessing._data.MaxAbsScaler": _always,
    "sklearn.preprocessing._data.RobustScaler": _always,
    "sklearn.preprocessing._encoders.OneHotEncoder": _always,
    "sklearn.preprocessing._encoders.OrdinalEncoder": _always,
    "sklearn.impute._base.SimpleImputer": _no_indicator,
    # What consists of others.
    "sklearn.pipeline.Pipeline": _steps_are_independent,
    "sklearn.compose._column_transformer.ColumnTransformer": _columns_are_independent,
}
"""Class → what must hold of the fitted estimator. Named, so that nothing is imported for it."""
