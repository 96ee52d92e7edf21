"""Estimators that would start threads or processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def use_one_job(estimator: Any) -> None:
    """Have the estimator, and all that it holds, predict in the thread that calls it.

    A forest whose trees run in several threads adds up their answers in the order in which they come to their end: its
    probabilities differ in the last digits from call to call. One thread is one of these orders, and always the same.
    LightGBM takes no number for all cores.
    """
    for each in _estimators(estimator):
        if "n_jobs" in vars(each):
            each.n_jobs = 1


def _estimators(root: Any) -> Iterator[Any]:
    """The estimator and those it is made of: in its attributes, and in lists, tuples and dicts among these."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif hasattr(value, "get_params") and hasattr(value, "__dict__") and not isinstance(value, type):
            yield value
            waiting.extend(vars(value).values())
