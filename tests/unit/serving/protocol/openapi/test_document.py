"""The description holds for what is described: its examples are taken, its references lead somewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from modelyard_serving import mlmodel as mlmodels
from modelyard_serving.protocol.dialect import Dialect
from modelyard_serving.protocol.openapi.document import Described, describe
from modelyard_serving.protocol.openapi.examples import read_example
from tests.unit.serving.protocol.cases import METHODS, column, given, mlflow, mlmodel, request, tensor, v1, v2

DOUBLES = [column("a", "double"), column("b", "double")]
SIGNATURES: dict[str, list[dict[str, Any]]] = {
    "doubles": DOUBLES,
    "every scalar": [
        column(f"{kind}-{required}", kind, required=required)
        for kind in ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
        for required in (True, False)
    ],
    "unnamed": [column(None, "double"), column(None, "string")],
    "nested": [
        column("values", "array", items={"type": "double"}),
        column("point", "object", properties={"x": {"type": "double"}, "y": {"type": "string", "required": False}}),
        column("counts", "map", values={"type": "long"}),
    ],
    "matrix": [tensor(None, "float64", [-1, 4])],
    "images": [tensor(None, "float32", [-1, 2, 2])],
    "texts": [tensor(None, "str", [-1, 1])],
    "named tensors": [tensor("u", "float64", [-1, 2]), tensor("v", "int64", [-1])],
    "none": [],
}


def described(*inputs: Any, example: Any = None, model: str = "wine", **more: Any) -> dict[str, Any]:
    return describe(Described(mlmodel(*inputs, **more), METHODS, model, "3", example))


def example_of(document: dict[str, Any], path: str) -> Any:
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"].get("example")


def examples(document: dict[str, Any]) -> dict[str, Any]:
    """By the name of its component, the example of each protocol's requests."""
    paths = {
        "Invocation": "/invocations",
        "V1Request": "/v1/models/wine:predict",
        "V2Request": "/v2/models/wine/infer",
    }
    return {name: found for name, path in paths.items() if (found := example_of(document, path)) is not None}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        node = list(node.values())
    for each in node if isinstance(node, list) else ():
        yield from references(each)


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_document_is_json_and_its_references_lead_somewhere(name: str) -> None:
    document = json.loads(json.dumps(described(*SIGNATURES[name]), allow_nan=False))
    components = document["components"]["schemas"]
    assert {each.rpartition("/")[2] for each in references(document)} <= components.keys()
    for schema in components.values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


@pytest.mark.parametrize("name", SIGNATURES)
def test_examples_are_what_the_schemas_say_and_what_the_dialects_take(name: str) -> None:
    inputs = SIGNATURES[name]
    document = described(*inputs)
    dialects: dict[str, Dialect] = {"Invocation": mlflow(*inputs), "V1Request": v1(*inputs), "V2Request": v2(*inputs)}
    found = examples(document)
    assert bool(found) == bool(inputs)
    taken = []
    for component, example in found.items():
        schema = {"$ref": f"#/components/schemas/{component}", "components": document["components"]}
        jsonschema_rs.validate(schema, example)
        taken.append(given(dialects[component].read(request(example)).data))
    assert all(each == taken[0] for each in taken)


def test_every_signature_of_scalars_has_an_example_in_every_protocol() -> None:
    for name in ("doubles", "every scalar", "unnamed", "matrix", "images", "texts"):
        assert examples(described(*SIGNATURES[name])).keys() == {"Invocation", "V1Request", "V2Request"}, name


def test_the_models_own_example_is_shown_cut_short() -> None:
    saved = {"dataframe_split": {"columns": ["b", "a"], "data": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}}
    document = described(*DOUBLES, example=saved)
    assert example_of(document, "/invocations")["dataframe_split"]["data"] == [[1.0, 2.0], [3.0, 4.0]]
    assert example_of(document, "/v1/models/wine:predict") == {
        "instances": [{"b": 1.0, "a": 2.0}, {"b": 3.0, "a": 4.0}]
    }
    assert example_of(document, "/v2/models/wine/infer")["inputs"][0]["data"] == [2.0, 4.0]


def test_an_example_that_is_too_long_is_not_shown() -> None:
    saved = {"dataframe_records": [{"a": 1.0, "b": 2.0, "c": "x" * 100_000}]}
    shown = example_of(described(*DOUBLES, example=saved), "/invocations")
    assert shown == {"dataframe_split": {"columns": ["a", "b"], "data": [[0.5, 0.5]]}}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"serving_input_example.json": '{"inputs": [1]}'}, {"inputs": [1]}),
        ({"input_example.json": '{"columns": [], "data": []}'}, {"dataframe_split": {"columns": [], "data": []}}),
        ({"serving_input_example.json": "{", "input_example.json": '{"instances": [1]}'}, {"instances": [1]}),
        ({"serving_input_example.json": "[1]", "input_example.json": '{"x": 1}'}, None),
        ({"serving_input_example.json": '{"inputs": "' + "x" * 300_000 + '"}'}, None),
    ],
)  # fmt: skip
def test_mlflows_files_are_read(tmp_path: Path, files: dict[str, str], expected: Any) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert read_example(tmp_path) == expected


def test_names_that_are_no_paths_are_quoted() -> None:
    assert "/v2/models/a%20%7Bb%7D%2Fc/infer" in described(*DOUBLES, model="a {b}/c")["paths"]


def test_params_and_methods_are_described() -> None:
    params = [{"name": "top", "type": "long", "default": 3, "shape": None}]
    document = described(*DOUBLES, params=params)
    schemas = document["components"]["schemas"]
    assert schemas["Params"]["properties"]["top"]["default"] == 3
    assert "parameters" in schemas["V1Request"]["properties"]
    assert document["paths"]["/invocations"]["post"]["parameters"][0]["schema"]["enum"] == list(METHODS)


def test_saved_models_of_every_kind_can_be_described(saved_model: Callable[[str], Path]) -> None:
    for name in ("forest", "labels_text", "echo_params", "echo_nested", "echo_none", "echo_named_tensors"):
        directory = saved_model(name)
        model = mlmodels.read(directory)
        assert describe(Described(model, METHODS, name, "1", read_example(directory)))["paths"]
