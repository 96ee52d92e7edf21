"""Where a model's trees split, in terms of its input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from modelyard_serving.acceleration import ensembles
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.original import Original
from modelyard_serving.acceleration.trees import Ensemble, Tree
from modelyard_serving.table import Array

MOST = 20_000
"""Of each feature."""
Bounds = dict[int, tuple[float, float]]
"""By feature: more than the first, at most the second."""


@dataclass(frozen=True)
class Split:
    """A node of a tree: its comparison, and what a row has to be like to meet it."""

    feature: int
    threshold: float
    bounds: Bounds


def splits_of(original: Original) -> Iterator[Split]:
    """The trees' inner nodes, tree by tree; none behind a preparation."""
    for tree in _trees(original):
        pending: list[tuple[int, Bounds]] = [(0, {})]
        while pending:
            node, bounds = pending.pop()
            if tree.left[node] < 0:
                continue
            feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
            yield Split(feature, threshold, bounds)
            low, high = bounds.get(feature, (-math.inf, math.inf))
            pending.append((int(tree.left[node]), {**bounds, feature: (low, min(high, threshold))}))
            pending.append((int(tree.right[node]), {**bounds, feature: (max(low, threshold), high)}))


def _trees(original: Original) -> Sequence[Tree]:
    try:
        head = ensembles.read(original.estimator)
    except NotConvertible:
        return ()
    return head.sums.trees if head is not None and isinstance(head.sums, Ensemble) else ()


def thresholds_of(original: Original) -> dict[int, Array]:
    """By feature, the values that the trees compare with, as the original has them; none behind a preparation."""
    found: dict[int, list[Array]] = {}
    for tree in _trees(original):
        inner = tree.left >= 0
        features, values = tree.feature[inner], tree.threshold[inner].astype(float)
        for feature in np.unique(features):
            found.setdefault(int(feature), []).append(values[features == feature])
    return {feature: _some(np.unique(np.concatenate(parts))) for feature, parts in found.items()}


def _some(values: Array) -> Array:
    values = values[np.isfinite(values)]
    every = max(1, len(values) // MOST)
    return values[::every] if len(values) else np.zeros(1)
