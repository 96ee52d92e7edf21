"""MLflow's onnx flavor, against MLflow's own wrapper."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from modelyard_serving import flavors, mlmodel
from modelyard_serving.call import Predictor
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.table import Table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.onnx
    import mlflow.pyfunc

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)


def _value(name: str, kind: int, *shape: int | None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _single(kind: int = TensorProto.FLOAT) -> ModelProto:
    """x (rows, 3) → twice x, and x times a matrix."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = [
        numpy_helper.from_array(WEIGHTS.astype(dtype), "w"),
        numpy_helper.from_array(np.array(2, dtype), "two"),
    ]
    nodes = [helper.make_node("Mul", ["x", "two"], ["double"]), helper.make_node("MatMul", ["x", "w"], ["product"])]
    outputs = [_value("double", kind, None, 3), _value("product", kind, None, 2)]
    return _model(nodes, [_value("x", kind, None, 3)], outputs, constants)


def _several() -> ModelProto:
    """a and b of shape (rows,) → their sum and whether a is greater."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Greater", ["a", "b"], ["greater"])]
    inputs = [_value(name, TensorProto.FLOAT, None) for name in "ab"]
    return _model(
        nodes, inputs, [_value("sum", TensorProto.FLOAT, None), _value("greater", TensorProto.BOOL, None)], []
    )


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> ModelProto:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _saved(model: ModelProto, path: Path, **options: Any) -> tuple[Any, Predictor]:
    """MLflow's model and ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.onnx.save_model(model, path, pip_requirements=[], **options)
        theirs = mlflow.pyfunc.load_model(str(path))
    read = mlmodel.read(path)
    _, load = flavors.choose(read)
    return theirs, load(path, read)


FRAME = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("xyz"))
AB = pd.DataFrame({"b": [1.5, 2.5], "a": [2.0, 1.0]})


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (_single(), FRAME.to_numpy()),
        (_single(), {"x": FRAME.to_numpy()}),
        (_single(), {"x": FRAME.to_numpy(np.float32)}),
        (_single(TensorProto.DOUBLE), FRAME.to_numpy()),
        (_several(), AB),
        (_several(), {"a": AB["a"].to_numpy(), "b": AB["b"].to_numpy()}),
    ],
)
def test_answers_as_mlflow_does(model: ModelProto, data: Any, tmp_path: Path) -> None:
    theirs, ours = _saved(model, tmp_path / "model")

    expected, found = theirs.predict(data), ours.predict(data, None)

    assert type(found) is type(expected)
    assert list(found) == list(expected)
    for name in expected:
        one, other = np.asarray(expected[name]), np.asarray(found[name])
        assert (other.dtype, other.shape, other.tolist()) == (one.dtype, one.shape, one.tolist())


def test_a_tables_answer_is_that_of_the_same_frame(tmp_path: Path) -> None:
    _, ours = _saved(_several(), tmp_path / "model")
    table = Table(("b", "a"), 2, block=AB.to_numpy().T)

    assert ours.takes_tables
    assert ours.predict(table, None).equals(ours.predict(AB, None))


def test_an_array_for_several_inputs_and_other_data_are_refused(tmp_path: Path) -> None:
    _, ours = _saved(_several(), tmp_path / "model")

    with pytest.raises(ValueError, match="one array cannot be mapped to"):
        ours.predict(FRAME.to_numpy(), None)
    with pytest.raises(TypeError, match="Input should be a dictionary or a numpy array"):
        ours.predict("text", None)


def test_data_may_lie_beside_the_model(tmp_path: Path) -> None:
    theirs, ours = _saved(_single(), tmp_path / "model", save_as_external_data=True)

    expected, found = theirs.predict(FRAME.to_numpy()), ours.predict(FRAME.to_numpy(), None)

    assert found["product"].tolist() == expected["product"].tolist()


def test_only_graphs_without_matrix_products_are_batched(tmp_path: Path) -> None:
    assert not _saved(_single(), tmp_path / "product")[1].batchable
    assert _saved(_several(), tmp_path / "elements")[1].batchable


def test_a_graph_that_onnx_runtime_refuses_is_told_as_such(tmp_path: Path) -> None:
    _saved(_single(), tmp_path / "model")
    (tmp_path / "model" / "model.onnx").write_bytes(b"\x08\x09nothing")
    read = mlmodel.read(tmp_path / "model")

    with pytest.raises(StartupError, match=r"model\.onnx \(onnx\) cannot be loaded") as error:
        flavors.choose(read)[1](tmp_path / "model", read)

    assert error.value.reason is Reason.LOAD_FAILED


def test_the_file_has_to_be_there(tmp_path: Path) -> None:
    _saved(_single(), tmp_path / "model")
    (tmp_path / "model" / "model.onnx").unlink()
    read = mlmodel.read(tmp_path / "model")

    with pytest.raises(StartupError, match=r"the model's file model\.onnx is missing"):
        flavors.choose(read)[1](tmp_path / "model", read)
