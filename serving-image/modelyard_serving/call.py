"""What every protocol makes of a request, and what the model makes of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

PREDICT = "predict"
PREDICT_PROBA = "predict_proba"

Predict = Callable[[Any, Mapping[str, Any] | None], Any]
"""(data, params) → predictions. `data` satisfies the signature: a `Table` where the predictor takes tables, else a
DataFrame, an array or a dict of arrays. `params` are the request's, completed with the signature's defaults."""


@dataclass(frozen=True)
class Predictor:
    """A loaded model, whatever its flavor. Its functions may be called from several threads at a time."""

    methods: Mapping[str, Predict]
    """By name. `predict` is MLflow's `python_function` and always there; others are there on request."""
    takes_tables: bool = False
    """Whether the methods take a `Table` as well; otherwise a table becomes a DataFrame first."""
    batchable: bool = False
    """Whether a row's answer is the same, to the last bit, whatever rows are predicted with it."""
    runtime: str = "native"
    """`native`: the flavor's own library. `onnx`: ONNX Runtime."""

    @property
    def predict(self) -> Predict:
        """MLflow's `python_function`."""
        return self.methods[PREDICT]


# Made for every request: a frozen dataclass takes three times as long to make.
@dataclass(slots=True, eq=False)
class Call:
    """One request, read and held to the signature. Nobody changes it."""

    data: Any
    rows: int
    params: Mapping[str, Any] | None = None
    methods: tuple[str, ...] = (PREDICT,)
    """What is asked for, in the order of the answer; each is one of `Predictor.methods`."""
    context: Any = None
    """What the dialect that read the request needs for writing its answer, e.g. a request's id."""


class Result(NamedTuple):
    """What a call is answered with."""

    outputs: tuple[Any, ...]
    """One for each of the call's methods, as the model gave it."""
    seconds: float
    """What the model took, a batch's time for each of its calls."""


@dataclass(slots=True)
class Reply:
    """The bytes of an answer and the headers that belong to them. Nobody changes it."""

    body: bytes
    content_type: bytes = b"application/json"
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
