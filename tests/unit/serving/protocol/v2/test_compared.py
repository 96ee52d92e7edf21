"""Answers are compared by their rows, whatever way they were encoded."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from modelyard_serving.call import Result
from modelyard_serving.compare import differences
from tests.unit.serving.protocol.cases import column, request, sent, v2


def answer(*outputs: Any, names: tuple[str, ...] = ("predict",), binary: bool = False) -> bytes:
    dialect = v2(column("a", "double"))
    document = {
        "inputs": [sent("a", "FP64", [2], [1, 2])],
        "outputs": [{"name": name} for name in names],
        "parameters": {"binary_data_output": binary},
    }
    return dialect.write(dialect.read(request(document)), Result(outputs, 0.0)).body


@pytest.mark.parametrize("binary", [False, True])
def test_rows_of_one_output(binary: bool) -> None:
    read = v2().predictions
    assert read(answer(np.array([0.5, 1.5]), binary=binary)) == [0.5, 1.5]
    assert read(answer(np.array([[0.5, 1.5], [2, 3]]), binary=binary)) == [[0.5, 1.5], [2.0, 3.0]]
    assert read(answer(np.arange(8).reshape(2, 2, 2), binary=binary)) == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert read(answer(np.array(["a", "ö"]), binary=binary)) == ["a", "ö"]


@pytest.mark.parametrize("binary", [False, True])
def test_several_outputs_are_records(binary: bool) -> None:
    found = v2().predictions(
        answer(np.array([1, 2]), np.array([[0.5], [1]]), names=("predict", "predict_proba"), binary=binary)
    )
    assert found == [{"predict": 1, "predict_proba": [0.5]}, {"predict": 2, "predict_proba": [1.0]}]


def test_versions_are_compared_by_what_they_predict() -> None:
    one, other = (v2().predictions(answer(np.array([1.0, value]))) for value in (2.0, 2.5))
    assert differences(one, other) == [0.0, pytest.approx(0.2)]


OUTPUT = {"name": "p", "datatype": "FP64", "shape": [2], "data": [1, 2]}


@pytest.mark.parametrize(
    "document",
    [
        {}, [], 1, {"outputs": []}, {"outputs": 1}, {"outputs": [1]}, {"outputs": [{}]},
        {"outputs": [{**OUTPUT, "shape": [3]}]}, {"outputs": [{**OUTPUT, "shape": [2, 0]}]},
        {"outputs": [{**OUTPUT, "shape": []}]}, {"outputs": [{**OUTPUT, "shape": [-2]}]},
        {"outputs": [{**OUTPUT, "shape": ["2"]}]}, {"outputs": [{**OUTPUT, "data": None}]},
        {"outputs": [{**OUTPUT, "parameters": {"binary_data_size": 16}}]},
        {"outputs": [{**OUTPUT, "datatype": "FP65", "parameters": {"binary_data_size": 0}}]},
        {"outputs": [OUTPUT, {**OUTPUT, "name": "q", "shape": [1], "data": [1]}]},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_apart(document: Any) -> None:
    for content in (json.dumps(document).encode(), json.dumps(document).encode()[:-1], b"", b"\xff", b"[" * 10**5):
        with pytest.raises(ValueError, match="answer"):
            v2().predictions(content)
