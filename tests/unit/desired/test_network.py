"""Who may send requests to a model's pods."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.desired.network import network_policy
from tests.unit.desired.deployments import Json, deployment

OWN = {"podSelector": {"matchLabels": {"modelyard.dev/deployment": "churn"}}}
PREPARING = {
    "podSelector": {
        "matchLabels": {"app.kubernetes.io/managed-by": "modelyard", "app.kubernetes.io/component": "preparation"}
    }
}
OPERATOR = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "modelyard-system"}}}


def policy(peers: list[Json], operator_namespace: str | None = "modelyard-system") -> Json:
    owner = deployment(networkPolicy={"from": peers})
    assert owner.spec.rest.network_policy
    return network_policy(owner, owner.spec.rest.network_policy, operator_namespace)


def sources(*arguments: Any) -> list[Json]:
    (rule,) = policy(*arguments)["spec"]["ingress"]
    found: list[Json] = rule["from"]
    return found


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ({"podLabels": {"app": "web"}}, {"podSelector": {"matchLabels": {"app": "web"}}}),
        ({"podLabels": {}}, {"podSelector": {}}),
        ({"namespaceLabels": {"team": "web"}}, {"namespaceSelector": {"matchLabels": {"team": "web"}}}),
        (
            {"namespaceLabels": {}, "podLabels": {"app": "envoy"}},
            {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "envoy"}}},
        ),
    ],
    ids=["pods of the namespace", "all pods of the namespace", "a namespace", "pods of any namespace"],
)
def test_peers_are_those_of_the_spec(peer: Json, expected: Json) -> None:
    assert sources([peer]) == [expected, OWN, PREPARING, OPERATOR]


def test_the_pods_may_ask_each_other_and_jobs_that_prepare_and_the_operator_may_ask_them() -> None:
    assert sources([]) == [OWN, PREPARING, OPERATOR]
    assert sources([], None) == [OWN, PREPARING]


def test_it_covers_all_versions_and_their_two_ports() -> None:
    body = policy([])
    assert body["metadata"]["name"] == "churn"
    assert body["spec"]["podSelector"] == OWN["podSelector"]
    assert body["spec"]["policyTypes"] == ["Ingress"]
    assert body["spec"]["ingress"][0]["ports"] == [
        {"protocol": "TCP", "port": 8080},
        {"protocol": "TCP", "port": 8081},
    ]
