"""Predictions of any kind as tensors."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from modelyard_serving.call import Result
from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.v2.outputs import binary_form, tensors_of
from tests.unit.serving.protocol.cases import column, request, sent, v2

NAN = float("nan")


def written(prediction: Any) -> list[dict[str, Any]]:
    dialect = v2(column("a", "double"))
    call = dialect.read(request({"inputs": [sent("a", "FP64", [1], [1])]}))
    outputs: list[dict[str, Any]] = json.loads(dialect.write(call, Result((prediction,), 0.0)).body)["outputs"]
    return outputs


@pytest.mark.parametrize(
    ("prediction", "datatype", "shape", "data"),
    [
        (np.array([1, 2]), "INT64", [2], [1, 2]),
        (np.array([1, 2], np.int8), "INT8", [2], [1, 2]),
        (np.array([2**64 - 1], np.uint64), "UINT64", [1], [2**64 - 1]),
        (np.array([True]), "BOOL", [1], [True]),
        (np.array([[0.25, 0.75]]), "FP64", [1, 2], [0.25, 0.75]),
        (np.array([[1, 2], [3, 4]]).T, "INT64", [2, 2], [1, 3, 2, 4]),
        (np.array([0.1], np.float32), "FP32", [1], [float(np.float32(0.1))]),
        (np.array([0.5], np.float16), "FP32", [1], [0.5]),
        (np.array([0.5], ">f8"), "FP64", [1], [0.5]),
        (np.array([0.5], np.longdouble), "FP64", [1], [0.5]),
        (np.array([NAN, np.inf]), "FP64", [2], [None, None]),
        (np.array(["a", "bc"]), "BYTES", [2], ["a", "bc"]),
        (np.array(["a", None], object), "BYTES", [2], ["a", None]),
        (np.array([1, 2.5, None], object), "FP64", [3], [1.0, 2.5, None]),
        (np.array([1, 2], object), "INT64", [2], [1, 2]),
        (np.array(["2024-01-01"], "M8[s]"), "BYTES", [1], ["2024-01-01T00:00:00"]),
        (np.array(5.5), "FP64", [1], [5.5]),
        (np.array([]), "FP64", [0], []),
        (5, "INT64", [1], [5]),
        ("x", "BYTES", [1], ["x"]),
        ([1, 2], "INT64", [2], [1, 2]),
        (["a", "b"], "BYTES", [2], ["a", "b"]),
        ([[0.5, 1], [1, 2]], "FP64", [2, 2], [0.5, 1.0, 1.0, 2.0]),
        (pd.Series([1, 2]), "INT64", [2], [1, 2]),
        (csr_matrix(np.array([[0, 1], [1, 0]])), "INT64", [2, 2], [0, 1, 1, 0]),
    ],
)
def test_one_tensor(prediction: Any, datatype: str, shape: list[int], data: list[Any]) -> None:
    assert written(prediction) == [{"name": "predict", "datatype": datatype, "shape": shape, "data": data}]


def test_bytes_are_base64_in_json() -> None:
    output = written(np.array([b"\xff\0", b"a"], object))[0]
    assert (output["data"], output["parameters"]) == (["/wA=", "YQ=="], {"content_type": "base64"})


@pytest.mark.parametrize(
    "prediction",
    [
        pd.DataFrame({"low": [1.0, 2.0], "label": ["a", "b"]}),
        {"low": np.array([1.0, 2.0]), "label": np.array(["a", "b"])},
        [{"low": 1.0, "label": "a"}, {"low": 2.0, "label": "b"}],
    ],
)
def test_named_columns_are_one_tensor_each(prediction: Any) -> None:
    assert written(prediction) == [
        {"name": "low", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]},
        {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
    ]


@pytest.mark.parametrize(
    "prediction",
    [
        [[1], [1, 2]],
        np.array([1j]),
        np.array([{}], object),
        object(),
        [{"a": 1}, {"b": 2}],
        [datetime.date(2024, 1, 1)],
    ],
)
def test_what_no_tensor_can_hold_is_the_servers_fault(prediction: Any) -> None:
    with pytest.raises(RequestError) as caught:
        written(prediction)
    assert (caught.value.status, str(caught.value.code)) == (500, "INTERNAL_ERROR")


def test_a_missing_text_has_no_binary_form() -> None:
    with pytest.raises(RequestError) as caught:
        binary_form(tensors_of("predict", np.array(["a", None], object))[0])
    assert caught.value.status == 500
