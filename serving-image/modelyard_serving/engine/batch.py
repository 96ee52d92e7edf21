"""Several calls as one prediction, and its outputs for each of them. Pure.

Only for predictors that are `batchable`: there a batch changes no row's answer by a bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard_serving.call import Call
from modelyard_serving.table import Table


def fits(first: Call, other: Call, rows: int, limit: int) -> bool:
    """Whether `other` can join a batch that begins with `first` and has `rows` rows already."""
    return (
        isinstance(other.data, Table)
        and isinstance(first.data, Table)
        and rows + other.rows <= limit
        and first.methods == other.methods
        and not first.params
        and not other.params
        and first.data.layout == other.data.layout
    )


def merge(calls: Sequence[Call]) -> Call:
    """One call for all of them, in order; each fits the first."""
    first = calls[0]
    if len(calls) == 1:
        return first
    return Call(
        Table.concatenate([call.data for call in calls]), sum(call.rows for call in calls), methods=first.methods
    )


def split(outputs: Sequence[Any], calls: Sequence[Call]) -> list[tuple[Any, ...]] | None:
    """Each call's part of each output; None if an output is not one row for each row of the input."""
    total = sum(call.rows for call in calls)
    if not all(isinstance(output, np.ndarray) and output.ndim and len(output) == total for output in outputs):
        return None
    parts, start = [], 0
    for call in calls:
        parts.append(tuple(output[start : start + call.rows] for output in outputs))
        start += call.rows
    return parts
