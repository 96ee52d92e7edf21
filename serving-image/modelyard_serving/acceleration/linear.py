"""Reads scikit-learn's linear models."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_serving.acceleration.heads import Head, Linear

_REGRESSIONS = frozenset(
    [
        "ARDRegression",
        "BayesianRidge",
        "ElasticNet",
        "ElasticNetCV",
        "HuberRegressor",
        "Lars",
        "LarsCV",
        "Lasso",
        "LassoCV",
        "LassoLars",
        "LassoLarsCV",
        "LinearRegression",
        "LinearSVR",
        "OrthogonalMatchingPursuit",
        "Ridge",
        "RidgeCV",
        "SGDRegressor",
        "TheilSenRegressor",
    ]
)
_LOGARITHMIC = frozenset({"PoissonRegressor", "GammaRegressor"})
_PROBABILISTIC = frozenset({"LogisticRegression", "LogisticRegressionCV"})
_CLASSIFIERS = frozenset({"LinearSVC", "Perceptron", "PassiveAggressiveClassifier"})


def read(estimator: Any, features: int) -> Head | None:
    """The estimator's weights, None if it is no linear model that is known here."""
    name = type(estimator).__name__
    known = name in _REGRESSIONS | _LOGARITHMIC | _PROBABILISTIC | _CLASSIFIERS
    if not (type(estimator).__module__.startswith("sklearn.") and known):
        return None
    weights = np.atleast_2d(np.asarray(estimator.coef_, float))
    if weights.shape[1] != features:
        return None
    sums = Linear(weights, np.broadcast_to(np.asarray(estimator.intercept_, float).reshape(-1), len(weights)))
    if name in _REGRESSIONS:
        # With a target of shape (rows, 1) the answer has that shape as well.
        return Head(sums) if np.ndim(estimator.coef_) == 1 or len(weights) > 1 else None
    if name in _LOGARITHMIC:
        return Head(sums, link="exp")
    link = "identity"
    if name in _PROBABILISTIC:
        link = "logistic" if len(weights) == 1 else "softmax"
    return Head(sums, link=link, classes=(estimator.classes_,))
