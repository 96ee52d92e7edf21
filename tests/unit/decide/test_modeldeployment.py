"""Which version a ModelDeployment wants, and what its Deployments, its Service and its status say of what there is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelyard.api import ModelDeployment, RegisteredModel
from modelyard.api.reasons import Reason
from modelyard.decide.modeldeployment import (
    NOTHING,
    Problem,
    Reported,
    Revision,
    Traffic,
    parse_time,
    reported,
    wanted_version,
)
from modelyard.desired import pods, traffic
from tests.unit.decide.rollouts import NOW, V1, V2, deployment, digest, served

Json = dict[str, Any]


def model(
    stages: dict[str, int],
    flavors: tuple[str, ...] = ("sklearn", "python_function"),
    aliases: dict[str, int] | None = None,
) -> RegisteredModel:
    versions = [
        {
            "version": number,
            "source": "runs:/r/model",
            "artifact": f"s3://b/{number}",
            "digest": digest(number),
            "flavors": flavors,
            "createdAt": "2026-01-01T00:00:00Z",
        }
        for number in (1, 2, 3)
    ]
    holders = {
        stage: {"version": number, "since": "2026-01-01T00:00:00Z", "by": "kubectl"} for stage, number in stages.items()
    }
    return RegisteredModel.parse(
        {
            "metadata": {"name": "churn", "namespace": "ml"},
            "spec": {"aliases": aliases or {}},
            "status": {"versions": versions, "stages": holders},
        }
    )


def of(reference: Json) -> ModelDeployment:
    """Return a deployment of what the reference names."""
    spec = {"model": {"name": "churn", **reference}, "rest": {}}
    return ModelDeployment.parse({"metadata": {"name": "web", "namespace": "ml"}, "spec": spec})


@pytest.mark.parametrize(
    ("reference", "stages", "version"),
    [
        ({"stage": "Production"}, {"production": 2, "staging": 3}, 2),
        ({"stage": "Staging"}, {"production": 2, "staging": 3}, 3),
        ({"version": 1}, {"production": 2}, 1),
        ({"alias": "champion"}, {"production": 1}, 2),
    ],
)
def test_the_wanted_version_is_the_one_that_the_reference_names(
    reference: Json, stages: dict[str, int], version: int
) -> None:
    assert wanted_version(of(reference), model(stages, aliases={"champion": 2})) == served(version)


@pytest.mark.parametrize(
    ("reference", "registered", "reason", "says"),
    [
        pytest.param(
            {"stage": "Production"}, None, Reason.MODEL_NOT_FOUND, "spec.model.name: there is no", id="no model"
        ),
        pytest.param(
            {"stage": "Production"},
            model({"staging": 1}),
            Reason.NO_VERSION_IN_STAGE,
            "set spec.stages.production of registeredmodel/churn",
            id="empty stage",
        ),
        pytest.param(
            {"alias": "champion"},
            model({"staging": 1}),
            Reason.NO_VERSION_IN_STAGE,
            "set spec.aliases.champion of registeredmodel/churn",
            id="no such alias",
        ),
        pytest.param({"version": 9}, model({}), Reason.VERSION_NOT_FOUND, "has no version 9", id="no such version"),
        pytest.param(
            {"version": 1},
            model({}, flavors=("pytorch",)),
            Reason.UNSUPPORTED_FLAVOR,
            "has flavors pytorch; the serving image loads sklearn, xgboost, lightgbm, onnx, python_function",
            id="a flavor that cannot be served",
        ),
    ],
)
def test_a_reference_that_names_nothing_is_a_problem_with_a_reason_and_a_fix(
    reference: Json, registered: RegisteredModel | None, reason: Reason, says: str
) -> None:
    problem = wanted_version(of(reference), registered)
    assert isinstance(problem, Problem)
    assert problem.reason == reason
    assert says in problem.message


def test_the_status_tells_what_drains_since_when() -> None:
    since = "2026-01-15T11:59:50Z"
    owner = deployment(
        served={"model": "churn", "version": 2, "digest": digest(2), "since": since},
        draining=[{"version": 1, "revision": V1.revision, "since": since}],
    )
    assert reported(owner) == Reported(V2.revision, {V1.revision: NOW - timedelta(seconds=10)})
    assert reported(deployment()) == Reported(None, {})


def test_moments_are_read_as_kubernetes_writes_them() -> None:
    assert parse_time("2026-01-15T12:00:00Z") == NOW == parse_time("2026-01-15T13:00:00.000000+01:00")


def counts(*, seen: int = 1, total: int = 2, updated: int = 2, available: int = 2) -> dict[str, int]:
    return {
        "observedGeneration": seen,
        "replicas": total,
        "updatedReplicas": updated,
        "availableReplicas": available,
        "readyReplicas": 1,
    }


@pytest.mark.parametrize(
    ("status", "total", "ready", "settled"),
    [
        pytest.param(counts(), 2, 1, True, id="all pods are of the newest spec and available"),
        pytest.param(counts(seen=0), 2, 1, False, id="its controller has not seen the newest spec"),
        pytest.param(counts(total=3), 3, 1, False, id="a pod of the spec before is still there"),
        pytest.param(counts(updated=1), 2, 1, False, id="a pod of the newest spec is missing"),
        pytest.param(counts(available=1), 2, 1, False, id="a pod is not available"),
        pytest.param({}, 0, 0, False, id="its controller has never seen it"),
    ],
)
def test_a_deployment_is_settled_when(status: Json, total: int, ready: int, settled: bool) -> None:
    body = pods.deployment(deployment(), V1, {}, "inputs", 2)
    body["metadata"]["generation"] = 1
    found = Revision.of({**body, "status": status})
    assert found == Revision(
        f"web-v1-{V1.revision}", V1.revision, "churn", 1, V1.digest, 2, total=total, ready=ready, settled=settled
    )


@pytest.mark.parametrize(
    ("service", "says"),
    [
        pytest.param(None, Traffic(NOTHING, split=False), id="no Service: nothing is served"),
        pytest.param(
            traffic.service(deployment(), V1.revision, False), Traffic(V1.revision, split=False), id="one revision"
        ),
        pytest.param(
            traffic.service(deployment(), V1.revision, True), Traffic(V1.revision, split=True), id="both, one is stable"
        ),
        pytest.param(
            {"metadata": {"annotations": {"modelyard.dev/stable-revision": V1.revision}}, "spec": {"selector": {}}},
            Traffic(V1.revision, split=True),
            id="somebody broke the selector: the annotation remembers",
        ),
        pytest.param({"metadata": {}, "spec": {}}, Traffic(NOTHING, split=True), id="somebody else's"),
        pytest.param(
            traffic.service(deployment(), NOTHING, False), Traffic(NOTHING, split=False), id="nothing was served yet"
        ),
    ],
)
def test_the_service_says_what_is_served(service: Json | None, says: Traffic) -> None:
    assert Traffic.of(service) == says
