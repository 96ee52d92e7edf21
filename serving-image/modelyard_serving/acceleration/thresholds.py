"""Where a model's trees split, in terms of its input."""

from __future__ import annotations

import numpy as np

from modelyard_serving.acceleration import ensembles
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.original import Original
from modelyard_serving.table import Array

MOST = 20_000
"""Of each feature."""


def thresholds_of(original: Original) -> dict[int, Array]:
    """By feature, the values that the trees compare with, as the original has them; none behind a preparation."""
    try:
        head = ensembles.read(original.estimator)
    except NotConvertible:
        return {}
    if head is None or not hasattr(head.sums, "trees"):
        return {}
    found: dict[int, list[Array]] = {}
    for tree in head.sums.trees:
        inner = tree.left >= 0
        features, values = tree.feature[inner], tree.threshold[inner].astype(float)
        for feature in np.unique(features):
            found.setdefault(int(feature), []).append(values[features == feature])
    return {feature: _some(np.unique(np.concatenate(parts))) for feature, parts in found.items()}


def _some(values: Array) -> Array:
    values = values[np.isfinite(values)]
    every = max(1, len(values) // MOST)
    return values[::every] if len(values) else np.zeros(1)
