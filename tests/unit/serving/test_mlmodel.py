from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard_serving import mlmodel
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.schema.types import ColumnSchema, TensorSchema, required_names

OPTIONAL = {"type": "any", "required": False}
FLAVORS = {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {"pickled_model": "model.pkl"}}


def document(**fields: Any) -> dict[str, Any]:
    return {"flavors": FLAVORS, "mlflow_version": "3.17.2", "model_uuid": "m-1", **fields}


def signed(inputs: Any, params: Any = None) -> dict[str, Any]:
    """An MLmodel document with a signature, each part of which is a JSON text."""
    parts = {"inputs": inputs, "outputs": None, "params": params}
    return document(signature={name: part if part is None else json.dumps(part) for name, part in parts.items()})


def test_a_model_without_a_signature() -> None:
    model = mlmodel.parse(document())
    assert (model.inputs, model.params, model.signature) == (None, None, {})
    assert (model.mlflow_version, model.model_uuid) == ("3.17.2", "m-1")
    assert model.pyfunc == {"loader_module": "mlflow.sklearn"}


def test_a_signature_of_columns() -> None:
    inputs = [
        {"type": "double", "name": "a", "required": True},
        {"type": "string", "name": "b", "required": False},
        {"type": "array", "items": {"type": "long"}, "name": "c", "required": True},
        {
            "type": "object",
            "properties": {"y": {"type": "double"}, "x": {"type": "any", "required": False}},
            "name": "d",
        },
        {"type": "map", "values": {"type": "sparkml_vector"}, "name": "e"},
    ]
    schema = mlmodel.parse(signed(inputs)).inputs
    assert isinstance(schema, ColumnSchema)
    assert required_names(schema) == ["a", "c"]
    assert repr(schema) == (
        "['a': double (required), 'b': string (optional), 'c': Array(long) (required), "
        "'d': {x: Any (optional), y: double (required)} (optional), 'e': Map(str -> Array(double)) (optional)]"
    )


def test_a_signature_of_tensors() -> None:
    spec = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 4]}}
    schema = mlmodel.parse(signed([spec])).inputs
    assert isinstance(schema, TensorSchema)
    assert repr(schema) == "[Tensor('float64', (-1, 4))]"
    assert not schema.named


def test_a_signature_of_params() -> None:
    params = [
        {"name": "top", "type": "long", "default": 3, "shape": None},
        {"name": "words", "dtype": "string", "default": ["a"], "shape": [-1]},
    ]
    model = mlmodel.parse(signed(None, params))
    assert repr(model.params) == "('top': long (default: 3), 'words': string (default: ['a']) (shape: (-1,)))"
    assert model.signature["params"] == params


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "text",
        {},
        {"flavors": None},
        {"flavors": ["sklearn"]},
        {"flavors": {"sklearn": "x"}},
        document(signature="x"),
        document(signature={"inputs": "no JSON"}),
        document(signature={"inputs": 5}),
        signed({"type": "double"}),
        signed([{"name": "a"}]),
        signed([{"type": "decimal", "name": "a"}]),
        signed([{"type": "double", "name": "a"}, {"type": "double"}]),
        signed([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}, {"type": "double"}]),
        signed([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}] * 2),
        signed([{"type": "tensor", "tensor-spec": {"dtype": "nonsense", "shape": [-1]}}]),
        signed([{"type": "tensor"}]),
        signed([{"type": "array", "name": "a"}]),
        signed(None, [{"name": "p", "type": "binary", "default": ""}]),
        signed(None, [{"name": "p", "type": "long", "default": "x"}]),
        signed(None, [{"name": "p", "type": "long"}]),
        signed(None, [{"name": "p", "type": "long", "default": [1], "shape": [2]}]),
    ],
)
def test_what_is_no_model_description_is_refused(content: Any, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(content))
    with pytest.raises(StartupError, match="MLmodel") as raised:
        mlmodel.read(tmp_path)
    assert raised.value.reason is Reason.MODEL_INVALID


@pytest.mark.parametrize("content", [b"flavors: [", b"\xff\xfe\xff", b"a: !!python/object/apply:os.system [ls]"])
def test_bad_yaml_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_bytes(content)
    with pytest.raises(StartupError, match="MLmodel is no valid YAML") as raised:
        mlmodel.read(tmp_path)
    assert raised.value.reason is Reason.MODEL_INVALID


def test_a_directory_without_an_mlmodel_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="ModelInvalid: there is no MLmodel file"):
        mlmodel.read(tmp_path)
