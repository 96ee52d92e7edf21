"""What counts as drift, and what does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from modelyard.decide.drift import is_current, parse_quantity, stamped


def manifest(**spec: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": "x", "annotations": {"a": "1"}}, "spec": spec}


def live(of: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = stamped(of)
    return {**body, "spec": {**body["spec"], **changes}, "status": {"replicas": 3}}


@pytest.mark.parametrize(
    ("wanted", "changes", "current"),
    [
        pytest.param({"replicas": 3}, {}, True, id="equal"),
        pytest.param({"replicas": 3}, {"paused": False}, True, id="a field that somebody else has added"),
        pytest.param({"replicas": 3}, {"replicas": 2}, False, id="a value that somebody else has changed"),
        pytest.param({"ports": [{"port": 80}]}, {"ports": [{"port": 80, "protocol": "TCP"}]}, True, id="defaults"),
        pytest.param({"ports": [{"port": 80}]}, {"ports": [{"port": 80}, {"port": 81}]}, False, id="an item more"),
        pytest.param({"ports": [{"port": 80}]}, {"ports": []}, False, id="an item less"),
        pytest.param({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "1"}}, True, id="the same quantity"),
        pytest.param({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "2"}}, False, id="another quantity"),
        pytest.param({"sizeLimit": "1024Mi"}, {"sizeLimit": "1Gi"}, True, id="the same size"),
        pytest.param({"sizeLimit": "1e9"}, {"sizeLimit": "1G"}, False, id="a size that cannot be read"),
        pytest.param({"volumes": [{"emptyDir": {}}]}, {}, True, id="an empty map"),
        pytest.param({"value": ""}, {"value": None}, True, id="an empty text that the server dropped"),
        pytest.param({"value": ""}, {"value": "x"}, False, id="a text where none is wanted"),
        pytest.param({"value": "x"}, {"value": None}, False, id="a text that somebody else has removed"),
        pytest.param({"paused": False}, {"paused": None}, False, id="a false that somebody else has removed"),
        pytest.param({"env": []}, {"env": None}, True, id="an empty list that the server dropped"),
        pytest.param({"env": []}, {"env": [{"name": "x"}]}, False, id="an item where none is wanted"),
        pytest.param({"paused": False}, {"paused": 0}, True, id="false is false"),
    ],
)
def test_drift(wanted: dict[str, Any], changes: dict[str, Any], current: bool) -> None:
    assert is_current(stamped(manifest(**wanted)), live(manifest(**wanted), **changes)) is current


def test_a_field_taken_out_of_the_manifest_is_drift() -> None:
    before = live(manifest(replicas=3, paused=True))
    assert not is_current(stamped(manifest(replicas=3)), before)


def test_the_stamp_depends_on_the_content_alone() -> None:
    one = {"kind": "X", "metadata": {"name": "x", "labels": {"a": "1", "b": "2"}}}
    other = {"metadata": {"labels": {"b": "2", "a": "1"}, "name": "x"}, "kind": "X"}
    assert stamped(one) == stamped(other)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", "1"), ("500m", "0.5"), ("1.5", "1.5"), ("1Gi", str(2**30)), ("2k", "2000"), ("3E", str(3 * 10**18))],
)
def test_quantities(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Gi", "1Qi", "1 Gi", "one"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)
