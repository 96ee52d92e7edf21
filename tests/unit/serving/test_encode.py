from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from modelyard_serving.protocol.encode import encode

FRAME = pd.DataFrame({"label": ["a", "b"], "score": [0.1, np.nan], "at": pd.to_datetime(["2024-01-01", "2024-01-02"])})

PREDICTIONS: dict[str, Any] = {
    "labels": np.array([1, 0, 1]),
    "text": np.array(["leaves", "stays"]),
    "objects": np.array(["a", None, 1.5, True], dtype=object),
    "booleans": np.array([True, False]),
    "float32": np.array([0.1, 1e-9], dtype=np.float32),
    "no numbers": np.array([np.nan, np.inf, -np.inf]),
    "probabilities": np.array([[0.25, 0.75], [1 / 3, 2 / 3]]),
    "several outputs": [np.array([[0.1, 0.9]]), np.array([[0.5, 0.5]])],
    "a score": np.float64(0.5),
    "a frame": FRAME,
    "a series": pd.Series([1, 2], name="y"),
    "an unnamed series": pd.Series([1.5]),
    "dates": [
        datetime.date(2024, 1, 1),
        datetime.datetime(2024, 1, 1, 12),
        datetime.time(12),
        pd.Timestamp("2024-01-01"),
    ],
    "bytes": [b"abc", bytearray(b"\x00")],
    "scalars of numpy": [np.int32(1), np.float32(0.5), np.bool_(True), np.str_("x")],
    "nested": {"a": [np.array([1]), {"b": np.array([[2.0]])}]},
    "nothing": np.array([]),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_writes_what_mlflow_writes(name: str) -> None:
    theirs = io.StringIO()
    scoring_server.predictions_to_json(PREDICTIONS[name], theirs)  # type: ignore[no-untyped-call]
    assert encode(PREDICTIONS[name]).decode() == theirs.getvalue()


@pytest.mark.parametrize("value", [object(), [{1, 2}], np.array([1 + 2j])])
def test_refuses_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)
