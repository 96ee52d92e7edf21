"""What the operator may do with pods to keep the logs of failed trials: read, and nothing else."""

from __future__ import annotations

import pytest

from tests.unit.chart.cases import CASES
from tests.unit.chart.render import rules, template


@pytest.mark.parametrize(
    ("case", "kind"), [("defaults", "ClusterRole"), ("some namespaces", "Role")], ids=["whole cluster", "namespaces"]
)
def test_logs_are_read_and_no_pod_is_entered(case: str, kind: str) -> None:
    objects = template(CASES[case].values)
    roles = [body for body in objects if (body["kind"], body["metadata"]["name"]) == (kind, "modelyard-operator")]
    assert roles
    for role in roles:
        of_pods = {each for each in rules([role], kind, "modelyard-operator") if each[1].startswith("pods")}
        assert of_pods == {("", "pods", verb) for verb in ("get", "list", "watch")} | {("", "pods/log", "get")}
