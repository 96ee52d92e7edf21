"""Asks the original which input it refuses, value by value, so that the accelerated model refuses the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np

from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.original import Feature, Original
from modelyard_serving.flavors.accelerated import LARGEST, UNSEEN, Column, Contract, Fault
from modelyard_serving.table import Array

FLOAT32_LIMIT = float(np.nextafter((2.0 - 2.0**-24) * 2.0**127, 0.0))
"""The largest float64 that is finite as float32."""
_NUMBERS: Mapping[str, float] = {"nan": np.nan, "+inf": np.inf, "-inf": -np.inf}
_TEXTS: Mapping[str, Any] = {"None": None, "NaN": np.nan, "other": 5, "unknown": UNSEEN}
_MAX_TEXTS = 2000


def probe(original: Original, contract: Contract, row: Sequence[Array], deadline: float) -> Contract:
    """The contract with faults and limits; `row` is an answered row, an array of shape (1,) for each feature.

    Raises NotConvertible, also when the monotonic clock passes the deadline.
    """
    ask = _Asking(original, row, deadline)
    # Where all columns meet the same code at once, one speaks for all.
    alike = type(original.estimator).__name__ not in ("Pipeline", "ColumnTransformer")
    columns: list[Column] = []
    found: dict[tuple[str, bool], Column] = {}
    for position, (column, feature) in enumerate(zip(contract.columns, original.features, strict=True)):
        key = (str(feature.dtype), feature.required)
        if alike and feature.required and key in found:
            columns.append(replace(found[key], name=column.name))
            continue
        probed = _texts(ask, position, column) if feature.text else _numbers(ask, position, column, feature)
        if not feature.required and (fault := ask.fault(lambda at=position: original.data(row, without=at))):  # type: ignore[misc]
            probed = replace(probed, faults={**probed.faults, "missing": fault})
        found[key] = probed
        columns.append(probed)
    empty = ask.fault(lambda: original.data([values[:0] for values in row]))
    return replace(contract, columns=tuple(columns), empty=empty)


class _Asking:
    def __init__(self, original: Original, row: Sequence[Array], deadline: float) -> None:
        self._original = original
        self._row = list(row)
        self._deadline = deadline

    def fault(self, make: Callable[[], Any]) -> Fault | None:
        if monotonic() > self._deadline:
            raise NotConvertible("it is too slow to find out in time which input it refuses")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._original.predictor.predict(make(), None)
        except Exception as error:
            return Fault(type(error).__name__, str(error))
        return None

    def value(self, position: int, value: Any, dtype: Any) -> Fault | None:
        row = [*self._row]
        row[position] = np.array([value], dtype)
        return self.fault(lambda: self._original.data(row))

    def answered(self, position: int) -> list[Any]:
        return list(self._row[position])


def _numbers(ask: _Asking, position: int, column: Column, feature: Feature) -> Column:
    if feature.dtype.kind == "b":
        fault = ask.value(position, None, object)
        return replace(column, faults={"None": fault} if fault else {})
    if feature.dtype.kind != "f":
        return column
    faults = {kind: ask.value(position, value, feature.dtype) for kind, value in _NUMBERS.items()}
    refused = {kind: fault for kind, fault in faults.items() if fault}
    limit = LARGEST
    if feature.dtype == np.float64 and {"+inf", "-inf"} & refused.keys():
        above = _limit(lambda value: ask.value(position, value, float) is None)
        # Most often the same below; else it is searched for anew.
        same = all((ask.value(position, -at, float) is None) == ok for at, ok in ((above, True), (_next(above), False)))
        limit = above if same else min(above, _limit(lambda value: ask.value(position, -value, float) is None))
    if limit < LARGEST:
        beyond = _next(limit)
        large = ask.value(position, beyond, float) or ask.value(position, -beyond, float)
        assert large is not None
        refused["large"] = large
    return replace(column, faults=refused, limit=limit)


def _next(value: float) -> float:
    return float(np.nextafter(value, np.inf))


def _limit(accepted: Callable[[float], bool]) -> float:
    """The largest absolute value that is accepted."""
    if accepted(LARGEST):
        return LARGEST
    if accepted(FLOAT32_LIMIT) and not accepted(_next(FLOAT32_LIMIT)):
        return FLOAT32_LIMIT
    low, high = 0, int(np.float64(LARGEST).view(np.int64))
    while high - low > 1:  # The bits of positive floats are in the order of the numbers.
        middle = (low + high) // 2
        low, high = (middle, high) if accepted(float(np.int64(middle).view(np.float64))) else (low, middle)
    return float(np.int64(low).view(np.float64))


def _texts(ask: _Asking, position: int, column: Column) -> Column:
    faults = {kind: ask.value(position, value, object) for kind, value in _TEXTS.items()}
    refused = {kind: fault for kind, fault in faults.items() if fault}
    known = None
    if "unknown" in refused:
        candidates = sorted({*learned_texts(ask._original.estimator), *map(str, ask.answered(position))})
        if len(candidates) > _MAX_TEXTS:
            raise NotConvertible(f"it refuses unknown texts and knows more than {_MAX_TEXTS}")
        known = tuple(text for text in candidates if ask.value(position, text, object) is None)
    return replace(column, faults=refused, known=known)


def learned_texts(estimator: Any) -> set[str]:
    """All texts that the estimator's encoders have learned as categories."""
    found: set[str] = set()
    for part in parts(estimator):
        for categories in getattr(part, "categories_", None) or ():
            found |= {value for value in np.asarray(categories, object).tolist() if isinstance(value, str)}
    return found


def parts(estimator: Any) -> list[Any]:
    """The estimator and what it consists of: steps, transformers, members."""
    found, pending = [], [estimator]
    while pending:
        part = pending.pop()
        if isinstance(part, str) or part is None:
            continue
        found.append(part)
        pending += [step for _, step in getattr(part, "steps", ())]
        pending += [step for _, step, *_ in getattr(part, "transformers_", ())]
        pending += [step for _, step in getattr(part, "transformer_list", ())]
        pending += [getattr(part, "best_estimator_", None)]
    return found
