"""An estimator's functions as a Predictor's methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from modelyard_serving.call import PREDICT, PREDICT_PROBA, Predict
from modelyard_serving.logs import warn_once

ON_REQUEST = (PREDICT_PROBA, "predict_log_proba", "decision_function")
"""What a request may ask for by name, where the estimator has it."""


def methods_of(
    estimator: Any, predict: Callable[..., Any], method: Callable[[Callable[..., Any]], Predict]
) -> dict[str, Predict]:
    """`predict` and what else the estimator can be asked for, each made a method of a Predictor by `method`."""
    others = {name: getattr(estimator, name, None) for name in ON_REQUEST}
    return {PREDICT: method(predict), **{name: method(other) for name, other in others.items() if callable(other)}}


def plain(function: Callable[[Any], Any]) -> Predict:
    """A function of the data alone."""

    @wraps(function)
    def predict(data: Any, params: Mapping[str, Any] | None) -> Any:
        del params
        return function(data)

    return predict


def accepted(function: Callable[..., Any], params: Mapping[str, Any] | None, library: str) -> dict[str, Any]:
    """Of the params those that the function has arguments for; all, if it takes any."""
    if not params:
        return {}
    arguments = inspect.signature(function).parameters
    if any(argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD) for argument in arguments.values()):
        return dict(params)
    if unknown := sorted(params.keys() - arguments.keys()):
        warn_once("params_ignored", unknown=unknown[:10], reason=f"{library} does not accept them")
    return {name: value for name, value in params.items() if name in arguments}
