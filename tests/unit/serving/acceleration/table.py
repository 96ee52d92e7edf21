"""Prints the table of docs/acceleration.md: `OMP_NUM_THREADS=1 python -m tests.unit.serving.acceleration.table`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from time import process_time
from typing import Any

from tests.unit.serving.acceleration import zoo
from tests.unit.serving.acceleration.conftest import Tamed, tame

HEADER = (
    "| model | outcome | sums in | `predict` | `predict_proba` | processor time for one row | why not |\n"
    "|---|---|---|---|---|---|---|\n"
)


def _largest(methods: Mapping[str, Any], name: str) -> str:
    if name not in methods:
        return ""
    found = methods[name]
    return "identical" if found["identicalBits"] else f"{float(found['largestDifference']):.0e}"


def _times_as_fast(model: Tamed) -> float:
    """By processor time, which other load on the machine changes little."""
    columns = zoo.columns(zoo.ZOO[model.name].data, 1)
    data, table = model.original.data(columns), model.original.table(columns)
    original, served = model.original.predictor, model.predictor()

    def cpu(call: Callable[[], Any], times: int) -> float:
        begin = process_time()
        for _ in range(times):
            call()
        return (process_time() - begin) / times

    return cpu(lambda: original.predict(data, None), 30) / cpu(lambda: served.predict(table, None), 1000)


def row(model: Tamed) -> str:
    result = model.result
    cells = [model.name, result.outcome.value]
    if result.content is None:
        cells += ["", "", "", "", result.message]
    else:
        methods = result.evidence["methods"]
        cells += ["float32" if "XGBoost" in model.name else "float64"]
        cells += [_largest(methods, "predict"), _largest(methods, "predict_proba")]
        cells += [f"{_times_as_fast(model):.0f} times less", ""]
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.stdout.write(HEADER)
    for name in sys.argv[1:] or zoo.ZOO:
        sys.stdout.write(row(tame(name)))
        sys.stdout.flush()
