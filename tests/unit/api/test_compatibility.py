"""Which changes of a schema break what was released, and which do not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api import KINDS
from modelyard.api.compatibility import breaks, main, schema_breaks
from modelyard.api.crd import custom_resource_definition, rendered

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[3]

SCHEMA: Json = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 10, "pattern": "^[a-z]+$"},
        "size": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "free": {"type": "string"},
        "color": {"type": "string", "enum": ["red", "blue"]},
        "parts": {
            "type": "array",
            "maxItems": 4,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {"type": "object", "properties": {"id": {"type": "integer"}}},
        },
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": 5},
            "x-kubernetes-validations": [{"rule": "size(self) > 0", "message": "needs a label"}],
        },
    },
}


def changed(path: str, **values: Any) -> Json:
    """Return the schema with keywords of one field set, or removed where None."""
    schema = copy.deepcopy(SCHEMA)
    node = schema
    for step in path.split(".") if path else []:
        node = node[step]
    for key, value in values.items():
        keyword = key.replace("__", "-")
        if value is None:
            node.pop(keyword)
        else:
            node[keyword] = value
    return schema


LABEL_RULE = {"rule": "size(self) > 0", "message": "at least one"}
NEW_RULE = {"rule": "size(self) < 3", "message": "at most two"}


@pytest.mark.parametrize(
    "current",
    [
        SCHEMA,
        changed("properties", new={"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}),
        changed("", required=[]),
        changed("properties.name", maxLength=20, minLength=0),
        changed("properties.name", maxLength=None, minLength=None, description="A name."),
        changed("properties.name", pattern=None),
        changed("properties.size", minimum=0, maximum=11),
        changed("properties.color", enum=["red", "blue", "green"]),
        changed("properties.color", enum=None),
        changed("properties.parts", maxItems=5),
        changed("properties.parts.items.properties", more={"type": "string"}),
        changed("properties.labels", x__kubernetes__validations=[LABEL_RULE]),
        changed("properties.labels", x__kubernetes__validations=None),
    ],
    ids=[
        "nothing",
        "a new field with its own required ones",
        "a field that is optional now",
        "wider lengths",
        "no lengths, and a description",
        "any characters",
        "wider bounds",
        "one more value",
        "any value",
        "more elements",
        "a new field of an element",
        "another message of a rule",
        "a rule less",
    ],
)
def test_what_was_accepted_still_is(current: Json) -> None:
    assert schema_breaks(SCHEMA, current, "v1") == []


@pytest.mark.parametrize(
    ("current", "said"),
    [
        (changed("properties", free=None), "v1.free: was removed"),
        (changed("properties.parts.items.properties", id=None), "v1.parts[].id: was removed"),
        (changed("properties.labels", additionalProperties=None), "v1.labels.*: was removed"),
        (changed("", required=["name", "free"]), "v1: free is required now"),
        (changed("properties.parts.items", required=["id"]), "v1.parts[]: id is required now"),
        (changed("properties.size", type="string"), "v1.size: type was 'integer', is 'string'"),
        (changed("properties.size", maximum=9), "v1.size: maximum was 10, is 9"),
        (changed("properties.size", minimum=2), "v1.size: minimum was 1, is 2"),
        (changed("properties.size", default=2), "v1.size: default was 1, is 2"),
        (changed("properties.size", default=None), "v1.size: default was 1, is None"),
        (changed("properties.free", maxLength=99), "v1.free: maxLength was None, is 99"),
        (changed("properties.free", minLength=1), "v1.free: minLength was None, is 1"),
        (changed("properties.free", enum=["a"]), "v1.free: takes only ['a'] now"),
        (changed("properties.color", enum=["red", "green"]), "v1.color: takes ['blue'] no more"),
        (changed("properties.name", pattern="^[a-y]+$"), "v1.name: pattern was '^[a-z]+$', is '^[a-y]+$'"),
        (changed("properties.labels.additionalProperties", maxLength=4), "v1.labels.*: maxLength was 5, is 4"),
        (
            changed("properties.parts", x__kubernetes__list__map__keys=["name"]),
            "v1.parts: x-kubernetes-list-map-keys was ['id'], is ['name']",
        ),
        (
            changed("properties.labels", x__kubernetes__validations=[LABEL_RULE, NEW_RULE]),
            "v1.labels: has a new rule: at most two",
        ),
    ],
)
def test_what_was_accepted_is_no_more(current: Json, said: str) -> None:
    assert schema_breaks(SCHEMA, current, "v1") == [said]


def definition(change: Callable[[Json], object] = lambda _: None) -> Json:
    body = copy.deepcopy(custom_resource_definition(KINDS[0]))
    change(body["spec"])
    return body


def stop_serving(spec: Json) -> None:
    spec["versions"][0]["served"] = False


def drop_status(spec: Json) -> None:
    del spec["versions"][0]["subresources"]["status"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spec: spec.update(scope="Cluster"), ["spec.scope: was 'Namespaced', is 'Cluster'"]),
        (lambda spec: spec["names"].update(plural="exps"), ["spec.names.plural: was 'experiments', is 'exps'"]),
        (stop_serving, ["v1alpha1: is served no more"]),
        (drop_status, ["v1alpha1: has no subresource status any more"]),
        (lambda spec: spec["versions"].append({"name": "v1", "served": True}), []),
    ],
    ids=["scope", "plural", "a version", "a subresource", "another version"],
)
def test_a_kind_stays_what_it_was(change: Callable[[Json], object], said: list[str]) -> None:
    assert breaks(definition(), definition(change)) == said


class TestDirectories:
    def test_what_is_there_breaks_nothing_of_itself(self) -> None:
        assert main([str(ROOT / "crds"), str(ROOT / "crds")]) == 0

    def test_what_is_there_breaks_nothing_of_the_last_release(self) -> None:
        assert main([str(ROOT / "crds/released"), str(ROOT / "crds")]) == 0

    def test_a_break_is_said_with_its_kind(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        released, current = tmp_path / "released", tmp_path / "current"
        for directory in (released, current):
            directory.mkdir()
        for name, text in rendered().items():
            (released / name).write_text(text)
            if name != "approvals.yaml":
                (current / name).write_text(text)
        body = yaml.safe_load((current / "experiments.yaml").read_text())
        del body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["tags"]
        (current / "experiments.yaml").write_text(yaml.safe_dump(body))
        assert main([str(released), str(current)]) == 1
        said = capsys.readouterr().err
        assert "Approval was removed" in said
        assert "Experiment v1alpha1.spec.tags: was removed" in said
