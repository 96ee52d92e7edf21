"""The generated CustomResourceDefinitions: structural, bounded, current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from modelyard.api import KINDS, Resource
from modelyard.api.approval import Approval
from modelyard.api.crd import custom_resource_definition, main, rendered
from modelyard.api.schema import structural_schema

ROOT = Path(__file__).resolve().parents[3]
COPIES = (ROOT / "crds", ROOT / "charts/modelyard/files/crds")

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name)


def schema_of(kind: type[Resource]) -> dict[str, Any]:
    version = custom_resource_definition(kind)["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("directory", COPIES, ids=str)
def test_the_files_are_those_that_the_types_make(directory: Path) -> None:
    assert {path.name: path.read_text() for path in directory.glob("*.yaml")} == rendered()


def test_a_file_that_is_not_current_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "experiments.yaml").write_text("changed")
    assert main(["--check", str(tmp_path)]) == 1
    assert "experiments.yaml is not current: run `make crds`" in capsys.readouterr().err


@every_kind
def test_every_node_has_exactly_one_type_and_no_reference(kind: type[Resource]) -> None:
    for path, node in nodes(schema_of(kind)):
        assert isinstance(node.get("type"), str), path
        assert not {"$ref", "anyOf", "allOf", "oneOf", "title"} & node.keys(), path


@every_kind
def test_no_number_of_a_spec_is_a_float(kind: type[Resource]) -> None:
    assert [path for path, node in nodes(schema_of(kind)["properties"]["spec"]) if node["type"] == "number"] == []


@every_kind
def test_everything_in_a_spec_is_bounded(kind: type[Resource]) -> None:
    """CEL's cost is estimated from the bounds, and an object has to fit into etcd."""
    unbounded = []
    for path, node in nodes(schema_of(kind)["properties"]["spec"]):
        limit = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}.get(node["type"])
        if node["type"] == "object" and "additionalProperties" in node:
            limit = "maxProperties"
        if limit and limit not in node and "enum" not in node:
            unbounded.append(path)
    assert unbounded == []


@every_kind
def test_every_rule_has_a_message(kind: type[Resource]) -> None:
    rules = [rule for _, node in nodes(schema_of(kind)) for rule in node.get("x-kubernetes-validations", [])]
    assert all(rule["message"] for rule in rules)


@every_kind
def test_every_printed_column_names_a_field_that_exists(kind: type[Resource]) -> None:
    fields = {path for path, _ in nodes(schema_of(kind))}
    for column in kind.printer_columns:
        path = column["jsonPath"].split("[")[0]
        known = path.startswith(".metadata.") or path in fields or path.rsplit(".", 2)[0] in fields
        assert known, column["jsonPath"]


@every_kind
def test_a_kind_is_found_by_category_and_short_name(kind: type[Resource]) -> None:
    names = custom_resource_definition(kind)["spec"]["names"]
    assert names["categories"] == ["modelyard"]
    # Approvals are few, and a short name of theirs would be more likely somebody else's.
    assert bool(names["shortNames"]) == (kind is not Approval)


def test_short_names_are_distinct() -> None:
    names = [name for kind in KINDS for name in kind.short_names]
    assert len(names) == len(set(names))


class Union(BaseModel):
    field: int | str


def test_a_union_cannot_be_written_down() -> None:
    with pytest.raises(ValueError, match="no structural schema holds a union"):
        structural_schema(Union, defaults=True)


def test_the_files_are_yaml_that_a_person_can_apply() -> None:
    for text in rendered().values():
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"
