"""Whether two answers, or two refusals, are the same as far as they have to be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard_serving.table import Array

PROBABILITY = 1e-5
"""How far probabilities may be apart, absolutely."""
RELATIVE = 1e-5
"""How far numbers may be apart, relative to the original's."""
FLOOR = 1e-7
"""What is always allowed to numbers, in parts of the largest of plausible answers."""


@dataclass(frozen=True)
class Tolerance:
    """How far apart an element may be: `absolute` + `relative` * |original|. Both 0: not at all."""

    absolute: float = 0.0
    relative: float = 0.0


def tolerance(method: str, function: str, exact: bool, scale: float) -> Tolerance:
    """For what a method returns; `function` is the estimator's method behind it, `scale` the size of its answers.

    `exact`: labels, and sums over trees.
    """
    kind = function if method == "predict" else method
    if exact:
        return Tolerance()
    if kind == "predict_proba":
        return Tolerance(absolute=PROBABILITY)
    if kind == "predict_log_proba":
        return Tolerance(PROBABILITY, RELATIVE)
    return Tolerance(FLOOR * scale, RELATIVE)


@dataclass(frozen=True)
class Difference:
    """Of one method's answers to the same rows."""

    wrong: Array
    """Which rows are further apart than allowed: an array of truth values."""
    largest: float
    """Of all elements: absolute, or relative where a relative one is allowed; infinite for labels that differ."""
    bits: bool
    """Whether all bytes are equal."""
    form: str | None = None
    """How type or shape differ, in which case all rows are wrong."""


def difference(expected: Any, found: Any, rows: int, allowed: Tolerance) -> Difference:
    """Of arrays, or lists of arrays, with an element for each row."""
    if isinstance(expected, list) != isinstance(found, list):
        return _other_form(rows, type(expected).__name__, type(found).__name__)
    pairs = list(zip(expected, found, strict=False)) if isinstance(expected, list) else [(expected, found)]
    if isinstance(expected, list) and len(expected) != len(found):
        return _other_form(rows, f"{len(expected)} arrays", f"{len(found)} arrays")
    wrong, largest, bits = np.zeros(rows, bool), 0.0, True
    for one, other in pairs:
        forms = [
            f"{each.dtype}{each.shape}" if isinstance(each, np.ndarray) else repr(type(each)) for each in (one, other)
        ]
        if forms[0] != forms[1]:
            return _other_form(rows, *forms)
        equal = _equal_bits(one, other)
        if equal:
            continue
        bits = False
        distance, bad = _elements(one.reshape(rows, -1), other.reshape(rows, -1), allowed)
        wrong |= bad.any(axis=1)
        largest = max(largest, float(distance.max(initial=0.0)))
    return Difference(wrong, largest, bits)


def _other_form(rows: int, expected: str, found: str) -> Difference:
    return Difference(np.ones(rows, bool), float("inf"), False, f"{found} instead of {expected}")


def _equal_bits(one: Array, other: Array) -> bool:
    if one.dtype == object:
        return bool(np.array_equal(one, other))
    return one.tobytes() == other.tobytes()


def _elements(one: Array, other: Array, allowed: Tolerance) -> tuple[Array, Array]:
    """Each element's distance, and whether it is too large."""
    if one.dtype.kind != "f":
        unequal = one != other
        return np.where(unequal, np.inf, 0.0), unequal
    one, other = one.astype(float), other.astype(float)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(same, 0.0, np.abs(one - other))
        bound = allowed.absolute + allowed.relative * np.abs(one)
    distance = np.where(np.isnan(distance), np.inf, distance)
    wrong = ~same & ~((distance <= bound) & np.isfinite(bound))
    if allowed.relative:
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = distance / np.maximum(np.abs(one), allowed.absolute / allowed.relative)
        distance = np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))
    return distance, wrong


def same_fault(expected: BaseException, found: BaseException) -> bool:
    """Whether both are of one class, by name: the accelerated model does not have the original's library at hand."""
    return type(expected).__name__ == type(found).__name__
