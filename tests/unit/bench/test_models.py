from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from tests.bench.serving.models import INVOCATIONS, MANY, V2, Model

MODEL = Model("any", "any", None, pd.DataFrame({"age": [30, 40, 50], "charge": [1.5, 2.0, 3.25]}))


def test_a_request_holds_the_rows_that_are_asked_for_in_their_own_types() -> None:
    body = json.loads(MODEL.request([2, 0]))
    assert body == {"dataframe_split": {"columns": ["age", "charge"], "data": [[50, 3.25], [30, 1.5]]}}
    assert [type(value) for value in body["dataframe_split"]["data"][0]] == [int, float]


def test_a_request_in_v2_holds_the_same_rows_by_column() -> None:
    assert json.loads(MODEL.request([2, 0], V2))["inputs"] == [
        {"name": "age", "shape": [2], "datatype": "INT64", "data": [50, 30]},
        {"name": "charge", "shape": [2], "datatype": "FP64", "data": [3.25, 1.5]},
    ]


def test_every_row_is_a_request_and_others_have_a_thousand(tmp_path: Path) -> None:
    files = MODEL.write_requests(tmp_path)
    one = files[INVOCATIONS, 1].read_bytes().splitlines()
    assert one == [MODEL.request([row]) for row in range(3)]
    many = [json.loads(line)["dataframe_split"]["data"] for line in files[INVOCATIONS, MANY].read_bytes().splitlines()]
    assert [len(rows) for rows in many] == [MANY] * 4
    assert len(files[V2, MANY].read_bytes().splitlines()) == len(many)
