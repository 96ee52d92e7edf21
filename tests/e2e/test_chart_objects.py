"""The API server accepts the chart's objects as they are, for every way to install: no field is unknown to it."""

from __future__ import annotations

import json

import pytest

from examples.demo.kubectl import run
from tests.unit.chart.cases import CASES
from tests.unit.chart.render import template

NAMESPACE = "default"


@pytest.mark.parametrize("name", CASES)
def test_objects_are_accepted(cluster: None, name: str) -> None:
    objects = template(CASES[name].values, release="dry-run")
    for body in objects:
        # A dry run does not make the namespaces, so all go to one that is there.
        if "namespace" in body["metadata"]:
            body["metadata"]["namespace"] = NAMESPACE
    unique = {(body["kind"], body["metadata"]["name"]): body for body in objects}
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(unique.values())})
    arguments = ["--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts"]
    answer = run("kubectl", "apply", *arguments, "--field-manager=chart-test", "-f", "-", stdin=manifest)
    assert len(answer.splitlines()) == len(unique)
