"""Which version a ModelDeployment serves, and how it gets from one to another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.api import ModelDeployment, RegisteredModel
from modelyard.api.reasons import Reason
from modelyard.api.serving import ServedModel
from modelyard.decide.modeldeployment import DRAIN, NOTHING, Problem, Reported, Rollout, plan, reported, wanted_version
from modelyard.desired import pods

NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)
FRESH = Reported(None, {})


def digest(version: int) -> str:
    return f"sha256:{version:064d}"


def served(version: int) -> ServedModel:
    return ServedModel("churn", version, f"s3://b/{version}", digest(version))


V1, V2, V3 = served(1), served(2), served(3)


def model(stages: dict[str, int], flavors: tuple[str, ...] = ("sklearn", "python_function")) -> RegisteredModel:
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
        {"metadata": {"name": "churn", "namespace": "ml"}, "status": {"versions": versions, "stages": holders}}
    )


def deployment(reference: dict[str, Any] | None = None, **status: Any) -> ModelDeployment:
    return ModelDeployment.parse(
        {
            "metadata": {"name": "web", "namespace": "ml", "uid": "u", "generation": 4},
            "spec": {"model": {"name": "churn", **(reference or {"stage": "Production"})}, "rest": {"replicas": 2}},
            "status": status,
        }
    )


def rollout(of: ServedModel, *, settled: bool = True, ready: int = 2, desired: int = 2) -> Rollout:
    return Rollout("d", of.revision, of.name, of.version, of.digest, desired, ready, settled)


def rollouts(*of: Rollout) -> dict[str, Rollout]:
    return {each.revision: each for each in of}


@pytest.mark.parametrize(
    ("reference", "stages", "version"),
    [
        ({"stage": "Production"}, {"production": 2, "staging": 3}, 2),
        ({"stage": "Staging"}, {"production": 2, "staging": 3}, 3),
        ({"version": 1}, {"production": 2}, 1),
    ],
)
def test_the_wanted_version_is_the_one_that_the_reference_names(
    reference: dict[str, Any], stages: dict[str, int], version: int
) -> None:
    assert wanted_version(deployment(reference), model(stages)) == served(version)


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
        pytest.param({"version": 9}, model({}), Reason.VERSION_NOT_FOUND, "has no version 9", id="no such version"),
        pytest.param(
            {"version": 1},
            model({}, flavors=("pytorch",)),
            Reason.UNSUPPORTED_FLAVOR,
            "has flavors pytorch; the serving image loads sklearn",
            id="a flavor that cannot be served",
        ),
    ],
)
def test_a_reference_that_names_nothing_is_a_problem_with_a_reason_and_a_fix(
    reference: dict[str, Any], registered: RegisteredModel | None, reason: Reason, says: str
) -> None:
    problem = wanted_version(deployment(reference), registered)
    assert isinstance(problem, Problem)
    assert problem.reason == reason
    assert says in problem.message


MISSING = Problem(Reason.MODEL_NOT_FOUND, "gone")


@pytest.mark.parametrize(
    ("wanted", "present", "selected", "before", "serve", "keep", "remove"),
    [
        pytest.param(V1, [], NOTHING, FRESH, NOTHING, {V1}, set(), id="the first version is made, nothing is served"),
        pytest.param(
            V1,
            [rollout(V1, settled=False)],
            NOTHING,
            FRESH,
            NOTHING,
            {V1},
            set(),
            id="it is not served while it starts",
        ),
        pytest.param(V1, [rollout(V1)], NOTHING, FRESH, V1, {V1}, set(), id="it is served when all its pods are ready"),
        pytest.param(
            V2,
            [rollout(V1), rollout(V2, settled=False)],
            V1.revision,
            FRESH,
            V1,
            {V1, V2},
            set(),
            id="a promoted version gets nothing until it is ready",
        ),
        pytest.param(
            V2,
            [rollout(V1), rollout(V2)],
            V1.revision,
            FRESH,
            V2,
            {V1, V2},
            set(),
            id="then it gets everything, and the replaced one is kept to end what it began",
        ),
        pytest.param(
            V2,
            [rollout(V1), rollout(V2)],
            V2.revision,
            Reported(V1.revision, {}),
            V2,
            {V1, V2},
            set(),
            id="also where the status that says so was never written",
        ),
        pytest.param(
            V2,
            [rollout(V1), rollout(V2)],
            V2.revision,
            Reported(V2.revision, {V1.revision: NOW - DRAIN}),
            V2,
            {V2},
            {V1},
            id="it goes when its time is over",
        ),
        pytest.param(
            V3,
            [rollout(V1), rollout(V2, settled=False)],
            V1.revision,
            Reported(V1.revision, {}),
            V1,
            {V1, V3},
            {V2},
            id="a candidate that is superseded goes at once: it never had a request",
        ),
        pytest.param(
            V1,
            [rollout(V1), rollout(V2)],
            V2.revision,
            Reported(V2.revision, {V1.revision: NOW}),
            V1,
            {V1, V2},
            set(),
            id="a roll-back to a version that still drains is served at once",
        ),
        pytest.param(
            V1,
            [rollout(V1, settled=False, ready=1)],
            V1.revision,
            Reported(V1.revision, {}),
            V1,
            {V1},
            set(),
            id="a served version that loses a pod stays served",
        ),
        pytest.param(
            MISSING,
            [rollout(V1)],
            V1.revision,
            Reported(V1.revision, {}),
            V1,
            {V1},
            set(),
            id="what is served stays served when the model is gone",
        ),
        pytest.param(
            MISSING,
            [rollout(V1), rollout(V2, settled=False)],
            V1.revision,
            Reported(V1.revision, {}),
            V1,
            {V1},
            {V2},
            id="but a candidate goes with it",
        ),
        pytest.param(MISSING, [], NOTHING, FRESH, NOTHING, set(), set(), id="nothing comes of nothing"),
    ],
)
def test_plan(  # noqa: PLR0917 - a table
    wanted: ServedModel | Problem,
    present: list[Rollout],
    selected: str,
    before: Reported,
    serve: ServedModel | str,
    keep: set[ServedModel],
    remove: set[ServedModel],
) -> None:
    decided = plan(wanted, rollouts(*present), selected, before, NOW)
    assert decided.serve == (serve if isinstance(serve, str) else serve.revision)
    assert decided.keep == {each.revision for each in keep}
    assert decided.remove == {each.revision for each in remove}


def test_a_draining_version_is_looked_at_again_when_its_time_is_over() -> None:
    before = Reported(V2.revision, {V1.revision: NOW - timedelta(seconds=4)})
    decided = plan(V2, rollouts(rollout(V1), rollout(V2)), V2.revision, before, NOW)
    assert decided.draining == {V1.revision: NOW - timedelta(seconds=4)}
    assert decided.again_after == DRAIN.total_seconds() - 4


def test_the_plan_is_stable_once_everything_is_as_wanted() -> None:
    decided = plan(V2, rollouts(rollout(V2)), V2.revision, Reported(V2.revision, {}), NOW)
    assert (decided.remove, decided.draining, decided.again_after) == (frozenset(), {}, None)


def test_the_status_tells_what_drains_since_when() -> None:
    since = "2026-01-15T11:59:50Z"
    owner = deployment(
        served={"model": "churn", "version": 2, "digest": digest(2), "since": since},
        draining=[{"version": 1, "revision": V1.revision, "since": since}],
    )
    assert reported(owner) == Reported(V2.revision, {V1.revision: NOW - timedelta(seconds=10)})


def counts(*, seen: int = 1, total: int = 2, updated: int = 2, available: int = 2) -> dict[str, int]:
    return {
        "observedGeneration": seen,
        "replicas": total,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }


@pytest.mark.parametrize(
    ("status", "settled"),
    [
        pytest.param(counts(), True, id="all pods are of the newest spec and available"),
        pytest.param(counts(seen=0), False, id="its controller has not seen the newest spec"),
        pytest.param(counts(total=3), False, id="a pod of the spec before is still there"),
        pytest.param(counts(updated=1), False, id="a pod of the newest spec is missing"),
        pytest.param(counts(available=1), False, id="a pod is not available"),
        pytest.param({}, False, id="its controller has never seen it"),
    ],
)
def test_a_deployment_is_settled_when(status: dict[str, Any], settled: bool) -> None:
    body = pods.deployment(deployment(), V1, {}, "inputs", 2)
    body["metadata"]["generation"] = 1
    assert Rollout.of({**body, "status": status}) == Rollout(
        f"web-v1-{V1.revision}", V1.revision, "churn", 1, V1.digest, 2, 0, settled
    )
