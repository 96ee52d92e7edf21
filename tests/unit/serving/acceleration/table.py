"""Prints the table of docs/acceleration.md: `python -m tests.unit.serving.acceleration.table`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tests.unit.serving.acceleration.conftest import Tamed, tame
from tests.unit.serving.acceleration.zoo import ZOO

HEADER = (
    "| model | outcome | sums in | `predict` | `predict_proba` | one row, times as fast | why not |\n"
    "|---|---|---|---|---|---|---|\n"
)


def _largest(methods: Mapping[str, Any], name: str) -> str:
    if name not in methods:
        return ""
    found = methods[name]
    return "identical" if found["identicalBits"] else f"{float(found['largestDifference']):.0e}"


def row(model: Tamed) -> str:
    result = model.result
    cells = [model.name, result.outcome.value]
    if result.content is None:
        cells += ["", "", "", "", result.message]
    else:
        speed, methods = result.evidence["oneRowMicroseconds"], result.evidence["methods"]
        cells += ["float32" if "XGBoost" in model.name else "float64"]
        cells += [_largest(methods, "predict"), _largest(methods, "predict_proba")]
        cells += [f"{speed['original'] / speed['onnx']:.0f}", ""]
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    sys.stdout.write(HEADER)
    for name in ZOO:
        sys.stdout.write(row(tame(name)))
        sys.stdout.flush()
