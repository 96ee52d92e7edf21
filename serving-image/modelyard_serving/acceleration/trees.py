"""Decision trees as arrays; an ensemble of them as one ONNX operator whose sums are the original's to the last bit.

The operator is `TreeEnsemble` of ai.onnx.ml 5 in float64 (or float32 where the original sums in that): ONNX Runtime
adds the trees' leaves in their order, one after another, as scikit-learn, XGBoost and LightGBM do. Constants that the
original begins with come in as a first tree of one leaf, so that even they are added at the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.table import Array

MAX_NODES = 4_000_000
"""Of an ensemble: about 300 MB in ONNX Runtime."""
LESS_OR_EQUAL, LESS = 0, 1
"""How a tree compares a value with its threshold: true leads to the left. ONNX's numbers for the modes."""


@dataclass(frozen=True)
class Tree:
    """A binary tree; the arrays have an element for each node, the root first."""

    left: Array
    """Position of the left child, -1 in leaves."""
    right: Array
    feature: Array
    threshold: Array
    missing_left: Array
    """Whether NaN goes to the left."""
    values: Array
    """Of shape (nodes, targets): what a leaf adds to each target."""

    @classmethod
    def constant(cls, values: Array) -> Tree:
        """One leaf."""
        none = np.full(1, -1)
        return cls(none, none, np.zeros(1, int), np.zeros(1), np.zeros(1, bool), np.atleast_2d(values))


@dataclass(frozen=True)
class Ensemble:
    """Trees that are summed in their order. Thresholds are for the type that the sum has."""

    trees: Sequence[Tree]
    dtype: Any = np.float64
    mode: int = LESS_OR_EQUAL

    @property
    def targets(self) -> int:
        """How many sums there are."""
        return int(self.trees[0].values.shape[1])

    def node(self, source: str, target: str) -> NodeProto:
        """The operator, from `source` of shape (rows, features) to `target`, (rows, targets). Raises NotConvertible."""
        builder = _Builder()
        for tree in self.trees:
            for weights, targets in _layers(tree):
                builder.add(tree, weights, targets)
        if not builder.roots:
            builder.add(self.trees[0], self.trees[0].values[:, 0], np.zeros(len(self.trees[0].left), int))
        return builder.node(source, target, self)


def _layers(tree: Tree) -> list[tuple[Array, Array]]:
    """A leaf of the operator adds to one target: trees whose leaves add to several are added once for each.

    Each layer has a weight and a target for every node; leaves of one target (pure ones) are in the first layer only.
    """
    leaves = tree.left < 0
    values = np.where(leaves[:, None], tree.values, 0.0)
    order = np.argsort(values == 0, axis=1, kind="stable")
    sorted_values = np.take_along_axis(values, order, axis=1)
    used = (sorted_values != 0).any(axis=0)
    return [(sorted_values[:, layer], order[:, layer]) for layer in np.flatnonzero(used)]


@dataclass
class _Builder:
    roots: list[int] = field(default_factory=list)
    parts: list[dict[str, Array]] = field(default_factory=list)
    nodes: int = 0
    leaves: int = 0

    def add(self, tree: Tree, weights: Array, targets: Array) -> None:
        left, right = _prune(tree, weights)
        reached = _reached(left, right)
        inner, leaf = reached & (left >= 0), reached & (left < 0)
        if not inner.any():  # A tree of one leaf is a node with that leaf on both sides.
            left, right, inner = np.zeros(1, int), np.zeros(1, int), np.ones(1, bool)
            position, leaf_kind = np.full(1, self.leaves), np.ones(1, bool)
            leaf = np.zeros(len(weights), bool)
            leaf[0] = True
            feature, threshold, missing = np.zeros(1, int), np.zeros(1), np.zeros(1, bool)
        else:
            position = np.where(leaf, self.leaves + np.cumsum(leaf) - 1, self.nodes + np.cumsum(inner) - 1)
            leaf_kind = left < 0
            feature, threshold, missing = tree.feature[inner], tree.threshold[inner], tree.missing_left[inner]
        self.roots.append(self.nodes)
        self.parts.append(
            {
                "feature": feature,
                "threshold": threshold,
                "missing": missing,
                "true": position[left[inner]],
                "false": position[right[inner]],
                "true_leaf": leaf_kind[left[inner]],
                "false_leaf": leaf_kind[right[inner]],
                "weight": weights[leaf],
                "target": targets[leaf],
            }
        )
        self.nodes += int(inner.sum())
        self.leaves += int(leaf.sum())
        if self.nodes > MAX_NODES:
            raise NotConvertible(f"its trees have more than {MAX_NODES} nodes")

    def node(self, source: str, target: str, ensemble: Ensemble) -> NodeProto:
        whole = {key: np.concatenate([part[key] for part in self.parts]) for key in self.parts[0]}
        missing: dict[str, Any] = {}
        if whole["missing"].any():
            missing["nodes_missing_value_tracks_true"] = _ints(whole["missing"])
        return helper.make_node(
            "TreeEnsemble",
            [source],
            [target],
            domain="ai.onnx.ml",
            n_targets=ensemble.targets,
            aggregate_function=1,  # SUM
            post_transform=0,  # NONE
            tree_roots=self.roots,
            nodes_featureids=_ints(whole["feature"]),
            nodes_splits=numpy_helper.from_array(whole["threshold"].astype(ensemble.dtype)),
            nodes_modes=numpy_helper.from_array(np.full(self.nodes, ensemble.mode, np.uint8)),
            nodes_truenodeids=_ints(whole["true"]),
            nodes_falsenodeids=_ints(whole["false"]),
            nodes_trueleafs=_ints(whole["true_leaf"]),
            nodes_falseleafs=_ints(whole["false_leaf"]),
            leaf_targetids=_ints(whole["target"]),
            leaf_weights=numpy_helper.from_array(whole["weight"].astype(ensemble.dtype)),
            **missing,
        )


def _ints(values: Array) -> list[int]:
    return values.astype(np.int64).tolist()  # type: ignore[no-any-return]


def _prune(tree: Tree, weights: Array) -> tuple[Array, Array]:
    """The tree's children where nodes with nothing but zeros below are leaves."""
    left, right = tree.left.copy(), tree.right.copy()
    if weights[left < 0].all():
        return left, right
    for node in _bottom_up(tree):
        one, other = left[node], right[node]
        if left[one] < 0 and left[other] < 0 and weights[one] == 0 and weights[other] == 0:
            left[node] = right[node] = -1
    return left, right


def _bottom_up(tree: Tree) -> list[int]:
    """The inner nodes, children before parents."""
    order, pending = [], [0]
    left, right = tree.left.tolist(), tree.right.tolist()
    while pending:
        node = pending.pop()
        if left[node] >= 0:
            order.append(node)
            pending += [left[node], right[node]]
    return order[::-1]


def _reached(left: Array, right: Array) -> Array:
    reached = np.zeros(len(left), bool)
    front = np.zeros(1, int)
    while front.size:
        reached[front] = True
        inner = front[left[front] >= 0]
        front = np.concatenate([left[inner], right[inner]])
    return reached


def float32_at_most(thresholds: Array) -> Array:
    """t → the largest float64 that is at most t once it is rounded to float32.

    scikit-learn's trees round their input to float32 and compare that with a float64 threshold (`<=`). With these
    thresholds the same happens without rounding.
    """
    below = _float32_at_most(thresholds)
    return _last_rounding_to(below)


def _float32_at_most(values: Array) -> Array:
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    too_large = nearest.astype(np.float64) > values
    with np.errstate(over="ignore"):
        return np.where(too_large, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _last_rounding_to(singles: Array) -> Array:
    """The largest float64 whose nearest float32 is at most the given: half-way to the next, which even ones take."""
    singles = singles.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        middle = (singles.astype(np.float64) + np.nextafter(singles, np.float32(np.inf)).astype(np.float64)) / 2
    even = (singles.view(np.int32) & 1) == 0
    # Infinite where there is no next one, or (below all) nothing rounds to it: both stand for themselves.
    return np.where(even | ~np.isfinite(middle), middle, np.nextafter(middle, -np.inf))
