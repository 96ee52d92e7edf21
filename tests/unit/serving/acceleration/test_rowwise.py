from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from modelyard_serving.flavors.rowwise import is_row_wise

node = helper.make_node
CONSTANTS = [
    numpy_helper.from_array(np.array([-1, 3]), "rows_of_three"),
    numpy_helper.from_array(np.array([3, -1]), "three_rows"),
    numpy_helper.from_array(np.array([0]), "zero"),
    numpy_helper.from_array(np.array([1]), "one"),
]


def _model(*nodes: NodeProto, rows: Any = None) -> ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])]
    return helper.make_model(helper.make_graph(nodes, "test", inputs, outputs, CONSTANTS))


@pytest.mark.parametrize(
    "good",
    [
        node("Add", ["x", "x"], ["y"]),
        node("TreeEnsembleClassifier", ["x"], ["y"], domain="ai.onnx.ml"),
        node("OneHotEncoder", ["x"], ["y"], domain="ai.onnx.ml"),
        node("Concat", ["x", "x"], ["y"], axis=1),
        node("ArgMax", ["x"], ["y"], axis=1),
        node("Reshape", ["x", "rows_of_three"], ["y"]),
        node("Unsqueeze", ["x", "one"], ["y"]),
    ],
)
def test_rows_stay_apart(good: NodeProto) -> None:
    assert is_row_wise(_model(good))


@pytest.mark.parametrize(
    "bad",
    [
        node("MatMul", ["x", "w"], ["y"]),
        node("Gemm", ["x", "w"], ["y"]),
        node("LinearClassifier", ["x"], ["y"], domain="ai.onnx.ml"),
        node("SVMRegressor", ["x"], ["y"], domain="ai.onnx.ml"),
        node("Softmax", ["x"], ["y"]),
        node("Sigmoid", ["x"], ["y"]),
        node("Concat", ["x", "x"], ["y"], axis=0),
        node("ArgMax", ["x"], ["y"]),
        node("Reshape", ["x", "three_rows"], ["y"]),
        node("Unsqueeze", ["x", "zero"], ["y"]),
        node("ReduceSum", ["x"], ["y"]),
        node("Loop", ["x"], ["y"]),
        node("SomethingNew", ["x"], ["y"]),
    ],
)
def test_rows_may_touch(bad: NodeProto) -> None:
    assert not is_row_wise(_model(node("Relu", ["x"], ["h"]), bad))


def test_a_fixed_number_of_rows_cannot_be_batched() -> None:
    assert not is_row_wise(_model(node("Relu", ["x"], ["y"]), rows=1))
