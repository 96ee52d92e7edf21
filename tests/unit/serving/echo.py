"""A scikit-learn estimator whose predictions are what it was given: types, order and values of its input."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator


class Echo(BaseEstimator):  # type: ignore[misc]
    def fit(self, *_: Any) -> Echo:
        return self

    def predict(self, data: Any) -> list[Any]:
        return [_describe(data)]


def _describe(data: Any) -> Any:
    if isinstance(data, pd.DataFrame):
        columns = [[repr(name), str(data[name].dtype), [repr(x) for x in data[name].tolist()]] for name in data]
        return {"frame": columns, "index": repr(list(data.index))}
    if isinstance(data, np.ndarray):
        return {"array": repr(data.tolist()), "dtype": str(data.dtype), "shape": list(data.shape)}
    if isinstance(data, dict):
        return {"dict": {name: _describe(value) for name, value in data.items()}}
    return {"value": repr(data), "type": type(data).__name__}


class Gate(BaseEstimator):  # type: ignore[misc]
    """Predicts only after it has been let: it makes the file `started`, and waits for the file `finish`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def predict(self, data: Any) -> list[Any]:
        (Path(self.directory) / "started").touch()
        deadline = time.monotonic() + 30
        while not (Path(self.directory) / "finish").exists():
            if time.monotonic() > deadline:
                raise TimeoutError("nobody opened the gate")
            time.sleep(0.01)
        return ["passed"] * len(data)


class Actor(BaseEstimator):  # type: ignore[misc]
    """Answers as the file `kind` says, with the fault that the file `fault-<version>` names if there is one."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def predict(self, data: Any) -> Any:
        fault_file = Path(self.directory) / f"fault-{os.environ['MODELYARD_MODEL_VERSION']}"
        fault = fault_file.read_text() if fault_file.exists() else ""
        numbers = [float(x) for x in data["x"]]
        time.sleep(0.06 if fault == "slow" else 0.02)
        if fault == "raise" and min(numbers) < 0:
            raise ValueError("a negative number")
        if fault == "leak":
            self.__dict__.setdefault("kept", []).append(b"x" * 4_000_000)
        if fault == "shift":
            numbers = [1.1 * x for x in numbers]
        if fault == "nan":
            numbers = [x if x > 0 else float("nan") for x in numbers]
        if fault == "shape":
            numbers = [*numbers, 0.0]
        kind = (Path(self.directory) / "kind").read_text()
        if kind == "labels":
            return ["yes" if (x > 0) != (fault == "swap") else "no" for x in numbers]
        if kind == "lists":
            return [[x, 1 - x] for x in numbers]
        return np.array(numbers)
