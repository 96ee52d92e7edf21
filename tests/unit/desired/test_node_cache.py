"""What model pods are told of the node cache."""

from __future__ import annotations

from typing import Any

from modelyard.desired import pods
from tests.unit.desired.deployments import V3, deployment

URL = "http://modelyard-node-cache.modelyard-system.svc:8080"


def told(node_cache: str | None, **rest: Any) -> list[str]:
    (container,) = pods.template(deployment(**rest), V3, "image", "Never", node_cache)["spec"]["containers"]
    return [entry["value"] for entry in container["env"] if entry["name"] == "MODELYARD_NODE_CACHE"]


def test_where_it_is() -> None:
    assert told(URL) == [URL]
    assert told(None) == []


def test_that_there_is_none_if_the_user_says_so() -> None:
    # Of two variables with one name the last one counts.
    assert told(URL, pod={"env": [{"name": "MODELYARD_NODE_CACHE", "value": ""}]})[-1] == ""


def test_pods_that_are_there_are_not_made_anew_because_of_it() -> None:
    owner = deployment()
    inputs = pods.template_inputs(owner, V3)
    made = pods.deployment(owner, V3, pods.template(owner, V3, "image", "Never"), inputs, 1)
    kept = pods.kept_template(made, inputs)
    assert kept is not None
    assert kept != pods.template(owner, V3, "image", "Never", URL)
