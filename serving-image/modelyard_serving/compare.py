"""How far two answers to the same request are apart, row by row. Pure.

An answer is what MLflow's scoring protocol returns, `{"predictions": [row, …]}`; a row is a number, text, truth value,
null, list (probabilities) or dictionary (a record of a DataFrame). Predictions that are no list are one row.
"""

from __future__ import annotations

import json
import math
from typing import Any

NOTHING_IN_COMMON = math.inf


def predictions_of(answer: bytes) -> Any:
    """What an answer says. Raises ValueError for what is no answer."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is no JSON: {error}") from error
    if not isinstance(document, dict) or "predictions" not in document:
        raise ValueError("the answer holds no predictions")
    return document["predictions"]


def rows(predictions: Any) -> list[Any]:
    """The single answers of a request."""
    return predictions if isinstance(predictions, list) else [predictions]


def differences(reference: Any, candidate: Any) -> list[float]:
    """The difference of each row of the reference; infinite for all of them (at least one) if the shapes differ."""
    expected, found = rows(reference), rows(candidate)
    if isinstance(reference, list) != isinstance(candidate, list) or len(expected) != len(found):
        return [NOTHING_IN_COMMON] * max(len(expected), 1)
    return [row_difference(one, other) for one, other in zip(expected, found, strict=True)]


def row_difference(one: Any, other: Any) -> float:
    """0 for equal rows, up to 2 for numbers, infinite for rows of different shape. Never raises, never NaN."""
    try:
        return _difference(one, other)
    except RecursionError:
        return NOTHING_IN_COMMON


def _difference(one: Any, other: Any) -> float:
    """The largest difference of two JSON values' elements.

    For numbers that are not whole it is |a-b| / max(|a|, |b|). Two whole numbers may be labels, of which none is close
    to another: they are equal or have nothing in common, as text and truth values.
    """
    if isinstance(one, float) or isinstance(other, float):
        return _relative(one, other) if _is_number(one) and _is_number(other) else NOTHING_IN_COMMON
    if type(one) is not type(other):
        return NOTHING_IN_COMMON
    if isinstance(one, list):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if not isinstance(one, dict):
        return 0.0 if one == other else NOTHING_IN_COMMON
    if one.keys() != other.keys():
        return NOTHING_IN_COMMON
    return max((_difference(value, other[key]) for key, value in one.items()), default=0.0)


def _relative(one: float, other: float) -> float:
    if one == other:
        return 0.0
    try:
        one, other = float(one), float(other)
    except OverflowError:  # A whole number beyond all floats.
        return NOTHING_IN_COMMON
    if math.isnan(one) and math.isnan(other):
        return 0.0
    if not (math.isfinite(one) and math.isfinite(other)):
        return NOTHING_IN_COMMON
    larger = max(abs(one), abs(other))
    distance = abs(one - other)
    return distance / larger if math.isfinite(distance) else abs(one / larger - other / larger)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
