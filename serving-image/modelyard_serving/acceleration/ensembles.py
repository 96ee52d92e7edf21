"""Reads the trees out of scikit-learn's, XGBoost's and LightGBM's models, and what becomes of their sums."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.heads import Head
from modelyard_serving.acceleration.trees import (
    LESS,
    Ensemble,
    Tree,
    float32_at_most,
)
from modelyard_serving.table import Array


def read(estimator: Any) -> Head | None:
    """The estimator's trees, None if it has none of its own. Raises NotConvertible."""
    module, name = type(estimator).__module__.partition(".")[0], type(estimator).__name__
    if module in ("sklearn", "xgboost", "lightgbm") and (reader := _READERS.get(f"{module}.{name}")):
        return reader(estimator)
    return None


def _forest(estimator: Any) -> Head:
    members = list(getattr(estimator, "estimators_", [estimator]))
    # A single tree answers with its leaf, forests with sums divided by how many there are.
    classes = _classes(estimator)
    trees = [_sklearn_tree(member.tree_, classes) for member in members]
    divisor = float(len(members)) if hasattr(estimator, "estimators_") else 1.0
    return Head(Ensemble(trees), average=True, divisor=divisor, classes=classes, rounding="common")


def _classes(estimator: Any) -> tuple[Array, ...]:
    if not hasattr(estimator, "classes_"):
        return ()
    classes = estimator.classes_
    return tuple(classes) if isinstance(classes, list) else (classes,)


def _sklearn_tree(tree: Any, classes: Sequence[Array], scale: float = 1.0) -> Tree:
    values = tree.value * scale
    if classes:
        columns = [values[:, output, : len(each)] for output, each in enumerate(classes)]
        values = np.concatenate(columns, axis=1)
    else:
        values = values[:, :, 0]
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count)).astype(bool)
    threshold = float32_at_most(tree.threshold)
    return Tree(tree.children_left, tree.children_right, tree.feature, threshold, missing, values)


def _gradient_boosting(estimator: Any) -> Head:
    first = _constant_start(estimator)
    stages, outputs = estimator.estimators_.shape
    trees = [Tree.constant(first)]
    for stage in range(stages):
        for output in range(outputs):
            tree = _sklearn_tree(estimator.estimators_[stage, output].tree_, (), estimator.learning_rate)
            trees.append(_for_target(tree, output, outputs))
    classes = _classes(estimator)
    link, slope = "identity", 1.0
    if classes:
        link = "logistic" if outputs == 1 else "softmax"
        slope = 2.0 if estimator.loss == "exponential" else 1.0
    return Head(Ensemble(trees), False, 1.0, link, slope, classes, zero_is_positive=True, rounding="common")


def _constant_start(estimator: Any) -> Array:
    """What the sums of scikit-learn's gradient boosting begin with."""
    if not (isinstance(estimator.init_, str) or type(estimator.init_).__name__.startswith("Dummy")):
        raise NotConvertible("its gradient boosting begins with another model (init)")
    rows = np.array([[0.0], [1.0]]).repeat(estimator.n_features_in_, axis=1)
    start: Array = estimator._raw_predict_init(rows.astype(np.float32))
    return np.asarray(start[0])


def _for_target(tree: Tree, target: int, targets: int) -> Tree:
    values = np.zeros((len(tree.left), targets), tree.values.dtype)
    values[:, target] = tree.values[:, 0]
    return Tree(tree.left, tree.right, tree.feature, tree.threshold, tree.missing_left, values)


def _hist_gradient_boosting(estimator: Any) -> Head:
    if estimator.is_categorical_ is not None and np.any(estimator.is_categorical_):
        raise NotConvertible("its histogram gradient boosting has categorical features")
    outputs = estimator.n_trees_per_iteration_
    trees = [Tree.constant(np.asarray(estimator._baseline_prediction, float).reshape(-1))]
    for iteration in estimator._predictors:
        trees += [_for_target(_hist_tree(one.nodes), output, outputs) for output, one in enumerate(iteration)]
    classes = _classes(estimator)
    link = {"poisson": "exp", "gamma": "exp"}.get(estimator.loss, "identity")
    if classes:
        link = "logistic" if outputs == 1 else "softmax"
    return Head(Ensemble(trees), link=link, classes=classes)


def _hist_tree(nodes: Any) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(int)),
        right=np.where(leaf, -1, nodes["right"].astype(int)),
        feature=nodes["feature_idx"].astype(int),
        threshold=nodes["num_threshold"].astype(float),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(float)[:, None],
    )


def _xgboost(estimator: Any) -> Head:
    booster = estimator if type(estimator).__name__ == "Booster" else estimator.get_booster()
    if (missing := getattr(estimator, "missing", np.nan)) is None or not np.isnan(missing):
        raise NotConvertible(f"it takes {missing!r} for a missing value")
    learner = json.loads(booster.save_raw(raw_format="json"))["learner"]
    boosting = learner["gradient_booster"]
    if boosting["name"] != "gbtree":
        raise NotConvertible(f"XGBoost's booster {boosting['name']!r} is not converted")
    model = boosting["model"]
    outputs = max(
        1, int(learner["learner_model_param"]["num_class"]), int(learner["learner_model_param"]["num_target"])
    )
    count = _xgboost_trees(booster, model)
    trees = [
        _for_target(_xgboost_tree(tree), target, outputs)
        for tree, target in zip(model["trees"][:count], model["tree_info"][:count], strict=True)
    ]
    objective = learner["objective"]["name"]
    link = _XGBOOST_LINKS.get(objective)
    if link is None:
        raise NotConvertible(f"XGBoost's objective {objective!r} is not converted")
    start = _xgboost_start(learner["learner_model_param"]["base_score"], link, outputs)
    ensemble = Ensemble([Tree.constant(start), *trees], np.float32, LESS)
    classes = (
        () if type(estimator).__name__ in ("Booster", "XGBRegressor", "XGBRFRegressor") else _xgb_classes(estimator)
    )
    return Head(ensemble, link=link, classes=classes, rounding="each")


_XGBOOST_LINKS = {
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:quantileerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:logistic": "logistic",
    "binary:logistic": "logistic",
    "multi:softprob": "softmax",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
}


def _xgb_classes(estimator: Any) -> tuple[Array, ...]:
    # XGBClassifier.predict returns positions: its labels are always 0, 1, 2…
    return (np.arange(estimator.n_classes_),)


def _xgboost_trees(booster: Any, model: Any) -> int:
    """How many trees predict: those up to the best iteration, where training stopped early."""
    best = booster.attributes().get("best_iteration")
    return int(model["iteration_indptr"][int(best) + 1]) if best is not None else len(model["trees"])


def _xgboost_tree(tree: Any) -> Tree:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1 or any(tree["split_type"]):
        raise NotConvertible("its trees have categorical splits or leaves of several values")
    conditions = np.array(tree["split_conditions"], np.float32)
    return Tree(
        np.array(tree["left_children"]),
        np.array(tree["right_children"]),
        np.array(tree["split_indices"]),
        conditions,
        np.array(tree["default_left"], bool),
        conditions.astype(np.float64)[:, None],
    )


def _xgboost_start(text: str, link: str, outputs: int) -> Array:
    """The base scores, as sums: in float32, as XGBoost has them."""
    scores = np.atleast_1d(np.array(json.loads(text), np.float32))
    one = np.float32(1)
    if link == "logistic":
        scores = -np.log(one / scores - one)
    elif link == "exp":
        scores = np.log(scores)
    return np.broadcast_to(scores, outputs).astype(np.float64)


def _lightgbm(estimator: Any) -> Head:
    booster = estimator if type(estimator).__name__ == "Booster" else estimator.booster_
    model = booster.dump_model(num_iteration=booster.best_iteration if booster.best_iteration > 0 else -1)
    objective, *settings = model.get("objective", "custom").split()
    link = _LIGHTGBM_LINKS.get(objective)
    if link is None or "sqrt" in settings:
        raise NotConvertible(f"LightGBM's objective {model.get('objective', 'custom')!r} is not converted")
    if model["average_output"] or model.get("pandas_categorical"):
        raise NotConvertible("LightGBM's forests, and its categories of pandas, are not converted")
    slope = next((float(each.partition(":")[2]) for each in settings if each.startswith("sigmoid:")), 1.0)
    outputs = model["num_tree_per_iteration"]
    trees = [
        _for_target(_lightgbm_tree(each["tree_structure"]), position % outputs, outputs)
        for position, each in enumerate(model["tree_info"])
    ]
    classes = _classes(estimator) if type(estimator).__name__ == "LGBMClassifier" else ()
    return Head(Ensemble(trees), link=link, slope=slope, classes=classes)


_LIGHTGBM_LINKS = {
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "binary": "logistic",
    "multiclass": "softmax",
}


def _lightgbm_tree(root: Any) -> Tree:
    left: list[int] = []
    right: list[int] = []
    rows: list[tuple[int, float, bool, float]] = []
    pending = [(root, -1, left)]
    while pending:
        node, parent, side = pending.pop()
        position = len(rows)
        if parent >= 0:
            side[parent] = position
        left.append(-1)
        right.append(-1)
        if "leaf_value" in node:
            rows.append((0, 0.0, False, node["leaf_value"]))
            continue
        rows.append((node["split_feature"], node["threshold"], _lightgbm_missing(node), 0.0))
        pending += [(node["right_child"], position, right), (node["left_child"], position, left)]
    feature, threshold, missing, value = map(np.array, zip(*rows, strict=True))
    return Tree(
        np.array(left), np.array(right), feature, _lightgbm_threshold(threshold), missing, value.astype(float)[:, None]
    )


_LIGHTGBM_ZERO = float(np.float32(1e-35))


def _lightgbm_threshold(thresholds: Array) -> Array:
    """LightGBM takes what is no larger than 1e-35 for 0. With these thresholds such values go where 0 goes."""
    tiny = np.abs(thresholds) <= _LIGHTGBM_ZERO
    instead = np.where(thresholds < 0, np.nextafter(-_LIGHTGBM_ZERO, -np.inf), _LIGHTGBM_ZERO)
    return np.where(tiny, instead, thresholds.astype(float))


def _lightgbm_missing(node: Any) -> bool:
    """Whether NaN goes to the left. Where training saw no missing values, NaN counts as 0."""
    if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
        raise NotConvertible("its trees have categorical splits, or take zero for a missing value")
    return bool(node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0)


_READERS: dict[str, Callable[[Any], Head]] = {
    **{
        f"sklearn.{kind}{task}": _forest
        for kind in ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees")
        for task in ("Classifier", "Regressor")
    },
    **{f"sklearn.GradientBoosting{task}": _gradient_boosting for task in ("Classifier", "Regressor")},
    **{f"sklearn.HistGradientBoosting{task}": _hist_gradient_boosting for task in ("Classifier", "Regressor")},
    **{f"xgboost.{name}": _xgboost for name in ("XGBClassifier", "XGBRegressor", "XGBRFRegressor", "Booster")},
    **{f"lightgbm.{name}": _lightgbm for name in ("LGBMClassifier", "LGBMRegressor", "Booster")},
}
