"""Estimators that do what no model should. They travel inside the pickles: nothing of this file is in the image."""

from __future__ import annotations

import ctypes
from typing import Any

HANG = 666.0
"""A row that begins with this has the model hang."""

HANG_SECONDS = 120


class Constant:
    """Answers the same for every row, and hangs when it is asked for `HANG`: with Python's lock held, as in C code."""

    def __init__(self, answer: float) -> None:
        self.answer = answer

    def predict(self, data: Any) -> list[float]:
        if len(data) and float(data[0][0]) == HANG:
            ctypes.PyDLL(None).sleep(HANG_SECONDS)
        return [self.answer for _ in data]


class Does:
    """Calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call
