"""How many pods a model has, and how many of them an eviction may take."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.desired import scaling
from tests.unit.desired.deployments import V3, Json, deployment

REQUESTS = {"requests": {"cpu": "1", "memory": "1Gi"}}


def autoscaler(**said: Any) -> Json:
    owner = deployment(resources=REQUESTS, autoscaling={"maxReplicas": 10, **said})
    assert owner.spec.rest.autoscaling
    return scaling.autoscaler(owner, owner.spec.rest.autoscaling, f"churn-v3-{V3.revision}")


class TestAutoscaler:
    def test_scales_the_deployment_that_is_served(self) -> None:
        body = autoscaler(minReplicas=2, targetCPU=70)
        assert (body["metadata"]["name"], body["spec"]["scaleTargetRef"]) == (
            "churn",
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"churn-v3-{V3.revision}"},
        )
        assert (body["spec"]["minReplicas"], body["spec"]["maxReplicas"]) == (2, 10)

    @pytest.mark.parametrize(
        ("said", "targets"),
        [
            ({"targetCPU": 70}, [("cpu", 70)]),
            ({"targetMemory": 80}, [("memory", 80)]),
            ({"targetCPU": 70, "targetMemory": 80}, [("cpu", 70), ("memory", 80)]),
        ],
    )
    def test_goes_by_what_the_spec_names(self, said: Json, targets: list[tuple[str, int]]) -> None:
        metrics = [each["resource"] for each in autoscaler(**said)["spec"]["metrics"]]
        assert [(each["name"], each["target"]["averageUtilization"]) for each in metrics] == targets
        assert {each["target"]["type"] for each in metrics} == {"Utilization"}


class TestDisruptionBudget:
    @pytest.mark.parametrize(
        ("rest", "bounds"),
        [
            ({"replicas": 0}, None),
            ({"replicas": 1}, None),
            ({"replicas": 2}, {"maxUnavailable": 1}),
            ({"replicas": 9, "autoscaling": {"maxReplicas": 5, "targetCPU": 70}}, None),
            ({"autoscaling": {"minReplicas": 2, "maxReplicas": 5, "targetCPU": 70}}, {"maxUnavailable": 1}),
            ({"replicas": 1, "disruptionBudget": {"minAvailable": 1}}, {"minAvailable": 1}),
            ({"replicas": 5, "disruptionBudget": {"maxUnavailable": 2}}, {"maxUnavailable": 2}),
            ({"replicas": 5, "disruptionBudget": {"maxUnavailable": 0}}, {"maxUnavailable": 0}),
        ],
    )
    def test_is_the_specs_or_one_pod_at_a_time_where_there_are_two(self, rest: Json, bounds: Json | None) -> None:
        body = scaling.disruption_budget(deployment(**rest), V3.revision)
        found = body and {k: v for k, v in body["spec"].items() if k in ("minAvailable", "maxUnavailable")}
        assert found == bounds

    def test_is_of_the_served_version_and_holds_up_no_node_for_a_broken_pod(self) -> None:
        body = scaling.disruption_budget(deployment(replicas=2), V3.revision)
        assert body is not None
        assert body["metadata"]["name"] == "churn"
        assert body["spec"]["selector"]["matchLabels"]["modelyard.dev/revision"] == V3.revision
        assert body["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
