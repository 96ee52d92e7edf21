"""What the server says of itself, and how the signature reads in the protocol's terms."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.v2 import metadata
from tests.unit.serving.protocol.cases import METHODS, column, mlmodel, tensor


def described(*inputs: Any, methods: Any = METHODS, **more: Any) -> dict[str, Any]:
    return metadata.model_metadata(mlmodel(*inputs, **more), methods, "wine", "3", flavor="sklearn")


def test_the_servers_documents() -> None:
    assert metadata.server_metadata("1.2") == {
        "name": "modelyard",
        "version": "1.2",
        "extensions": ["binary_tensor_data"],
    }
    assert metadata.live() == {"live": True}
    assert metadata.ready(ready=False)["ready"] is False
    assert metadata.model_ready("wine", ready=True) == {"name": "wine", "ready": True}


@pytest.mark.parametrize(
    ("kind", "datatype", "shape"),
    [
        ("boolean", "BOOL", [-1]), ("integer", "INT32", [-1]), ("long", "INT64", [-1]), ("float", "FP32", [-1]),
        ("double", "FP64", [-1]), ("string", "BYTES", [-1]), ("binary", "BYTES", [-1]), ("datetime", "BYTES", [-1]),
    ],
)  # fmt: skip
def test_a_column_is_an_input_of_its_name(kind: str, datatype: str, shape: list[int]) -> None:
    assert described(column("c", kind))["inputs"] == [{"name": "c", "datatype": datatype, "shape": shape}]


def test_nested_columns() -> None:
    inputs = described(
        column("values", "array", items={"type": "float"}),
        column("map", "map", values={"type": "long"}),
        column("maps", "array", items={"type": "map", "values": {"type": "long"}}),
    )["inputs"]
    assert [(each["datatype"], each["shape"]) for each in inputs] == [
        ("FP32", [-1, -1]),
        ("BYTES", [-1]),
        ("BYTES", [-1]),
    ]


def test_inputs_without_names_are_called_by_their_position() -> None:
    assert [each["name"] for each in described(column(None, "long"), column(None, "double"))["inputs"]] == [
        "input-0",
        "input-1",
    ]
    assert described(tensor(None, "float32", [-1, 4]))["inputs"] == [
        {"name": "input-0", "datatype": "FP32", "shape": [-1, 4]}
    ]
    assert described()["inputs"] == []


def test_outputs_are_the_methods_and_the_columns_that_the_signature_names() -> None:
    probabilities = {"name": "predict_proba", "datatype": "FP64", "shape": [-1, -1]}
    assert described(column("a", "long"), outputs=[tensor(None, "int64", [-1])])["outputs"] == [
        {"name": "predict", "datatype": "INT64", "shape": [-1]},
        probabilities,
    ]
    named = described(column("a", "long"), outputs=[column("low", "double"), column("label", "string")])
    assert [each["name"] for each in named["outputs"]] == ["low", "label", "predict_proba"]
    assert [each["name"] for each in described(column("a", "long"))["outputs"]] == ["predict", "predict_proba"]


def test_the_platform_says_what_predicts() -> None:
    assert described()["platform"] == "mlflow_sklearn"
    onnx = metadata.model_metadata(mlmodel(), METHODS, "wine", "3", flavor="sklearn", runtime="onnx")
    assert (onnx["platform"], onnx["name"], onnx["versions"]) == ("onnx_onnxv1", "wine", ["3"])


def test_only_what_is_served_is_there() -> None:
    metadata.require_served("wine", None, "wine", "3")
    metadata.require_served("wine", "", "wine", "3")
    metadata.require_served("wine", "3", "wine", "3")
    for model, version in (("beer", None), ("wine", "4"), ("", None)):
        with pytest.raises(RequestError) as caught:
            metadata.require_served(model, version, "wine", "3")
        assert caught.value.status == 404
