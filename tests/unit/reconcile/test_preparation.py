"""A version is prepared by a Job before its pods are made: what waits, what is used, what is believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import DEPLOYMENTS, JOBS
from tests.fakes.artifacts import bucket
from tests.unit.reconcile.deployment_world import NAMESPACE, Killed
from tests.unit.reconcile.preparation_world import ARCHIVE, ONNX, URI, World

SOURCE, DIGEST = "MODELYARD_ACCELERATED_SOURCE", "MODELYARD_ACCELERATED_DIGEST"
DIFFERENCES = ["scikit-learn==1.5.2, the image has 1.9.1"]
NOT_BUILT = {"needed": True, "differences": DIFFERENCES, "archive": None, "error": "no index answers"}


@pytest.fixture
def world() -> Iterator[World]:
    with bucket() as made:
        yield World(made)


def acceleration(outcome: str, message: str = "") -> dict[str, Any]:
    return {"outcome": outcome, "message": message, "model": None, "evidence": {}}


def serve(world: World, version: int = 1) -> None:
    world.promote(version)
    world.reconcile()
    world.prepare(version)
    for _ in range(8):
        world.turn()
    assert world.reason() == "Serving"
    world.writes.clear()


def test_the_first_pods_wait_for_the_job_and_are_made_with_what_it_left(world: World) -> None:
    world.promote(1)
    again = world.reconcile()
    assert (world.deployed, world.reason(), world.status["phase"]) == ([], "Preparing", "Progressing")
    assert world.accelerated() == ("Unknown", "Preparing")
    assert again is not None
    assert again <= 3
    below = f"{URI}/{world.directory(1)}"
    world.prepare(1)
    world.reconcile()
    told = world.environment(1)
    assert told[SOURCE] == f"{below}/model.onnx"
    assert told[DIGEST] == world.registered(1).preparation.model  # type: ignore[union-attr]
    assert "MODELYARD_ENVIRONMENT_SOURCE" not in told
    world.turn()
    world.turn()
    assert (world.reason(), world.accelerated()) == ("Serving", ("True", "Verified"))
    assert world.secret_keys == set()


def test_a_promotion_waits_beside_what_is_served(world: World) -> None:
    serve(world)
    world.register(2)
    world.promote(2)
    world.reconcile()
    assert (world.deployed, world.selected, world.reason()) == ([1], [1], "Preparing")
    assert "version 1 stays served" in world.condition()["message"]
    assert world.accelerated() == ("True", "Verified"), "of what is served"
    world.prepare(2)
    for _ in range(8):
        world.turn()
    assert (world.deployed, world.selected, world.reason()) == ([2], [2], "Serving")


def test_the_newest_version_is_prepared_ahead_and_its_promotion_waits_for_nothing(world: World) -> None:
    serve(world)
    world.register(2)
    world.reconcile()
    assert [job["metadata"]["labels"]["modelyard.dev/model-version"] for job in world.jobs] == ["1", "2"]
    world.prepare(2)
    world.reconcile()
    world.writes.clear()
    world.promote(2)
    world.reconcile()
    assert world.deployed == [1, 2]
    assert [path for _, path in world.writes if "/jobs" in path or "/secrets" in path] == []


def test_what_it_costs(world: World) -> None:
    """A preparation costs five writes to the API server and one record; a converged deployment costs none."""
    world.promote(1)
    world.reconcile()
    world.prepare(1)
    world.reconcile()
    ours = [path.rsplit("/", 2)[-2:] for _, path in world.writes]
    assert ours.count(["secrets", "modelyard-preparation"]) == 2, "URLs given and taken back"
    assert ours.count(["churn", "status"]) == 1, "the model shows what came of it"
    assert len(world.jobs) == 1
    for _ in range(4):
        world.turn()
    world.writes.clear()
    world.now += timedelta(hours=1)
    world.reconcile()
    assert world.writes == []


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"acceleration": acceleration("AnswersDiffer", "3 of 2000")}, "AnswersDiffer", "3 of 2000"),
        ({"acceleration": acceleration("NotConvertible", "no converter")}, "NotConvertible", "no converter"),
        ({"acceleration": acceleration("Failed", "MemoryError")}, "PreparationFailed", "MemoryError"),
        (
            {"acceleration": {**acceleration("Verified"), "model": {"sha256": "0" * 64, "bytes": len(ONNX)}}},
            "PreparationFailed",
            "model.onnx is sha256:",
        ),
        ({"digest": "sha256:" + "9" * 64}, "PreparationFailed", "of a model with digest"),
        ({"schemaVersion": 2}, "PreparationFailed", "schema version 2"),
        ({"acceleration": acceleration("Verified")}, "PreparationFailed", "verified that it does not name"),
        ({"acceleration": acceleration("Excellent")}, "PreparationFailed", "which does not exist"),
        ({"environment": {"needed": "yes"}}, "PreparationFailed", "environment.needed"),
    ],
    ids=["differs", "not convertible", "failed", "poisoned", "another's", "newer", "empty", "invented", "ill-typed"],
)
def test_what_was_not_verified_is_not_used(world: World, changed: dict[str, Any], reason: str, words: str) -> None:
    world.promote(1)
    world.reconcile()
    world.prepare(1, **changed)
    for _ in range(4):
        world.turn()
    assert SOURCE not in world.environment(1)
    assert (world.reason(), world.accelerated()) == ("Serving", ("False", reason))
    assert words in world.condition("Accelerated")["message"]


def test_an_environment_is_used_where_it_is_needed(world: World) -> None:
    import hashlib  # noqa: PLC0415

    archive = {"sha256": hashlib.sha256(ARCHIVE).hexdigest(), "bytes": len(ARCHIVE)}
    world.promote(1)
    world.reconcile()
    world.prepare(1, environment={"needed": True, "differences": DIFFERENCES, "archive": archive, "error": None})
    world.reconcile()
    assert world.environment(1)["MODELYARD_ENVIRONMENT_DIGEST"] == f"sha256:{archive['sha256']}"
    assert world.environment(1)["MODELYARD_ENVIRONMENT_SOURCE"].endswith("/environment.tar.gz")


def test_a_version_whose_libraries_cannot_be_had_is_refused_and_the_stable_one_stays(world: World) -> None:
    serve(world)
    world.register(2)
    world.promote(2)
    world.reconcile()
    world.prepare(2, environment=NOT_BUILT, acceleration=acceleration("Failed"))
    for _ in range(3):
        world.turn()
    assert (world.deployed, world.selected, world.reason()) == ([1], [1], "EnvironmentFailed")
    assert "scikit-learn==1.5.2, the image has 1.9.1: no index answers" in world.condition()["message"]
    assert len(world.jobs) == 2, "it is not tried again by itself"
    world.annotate(refresh="again")
    world.reconcile()
    assert (len(world.jobs), world.reason()) == (3, "Preparing")


def test_a_version_whose_libraries_cannot_be_had_is_served_with_the_images_where_the_spec_says_so(
    world: World,
) -> None:
    world.edit({"environment": "Image"})
    world.promote(1)
    world.reconcile()
    world.prepare(1, environment=NOT_BUILT)
    for _ in range(3):
        world.turn()
    assert world.reason() == "Serving"


def test_pods_wait_no_longer_than_they_are_to(world: World) -> None:
    world.promote(1)
    world.reconcile()
    world.now += timedelta(seconds=301)
    world.reconcile()
    assert world.deployed == [1]
    for _ in range(3):
        world.turn()
    assert (world.reason(), world.accelerated()) == ("Serving", ("Unknown", "Preparing"))
    made = world.environment(1)
    world.prepare(1)
    for _ in range(2):
        world.turn()
    assert world.accelerated() == ("False", "PreparedLater")
    assert world.environment(1) == made, "pods that exist are left alone"
    world.annotate(refresh="now")
    for _ in range(3):
        world.turn()
    assert (world.accelerated(), SOURCE in world.environment(1)) == (("True", "Verified"), True)


def test_a_job_that_ends_badly_is_told_and_holds_nothing_up(world: World) -> None:
    world.promote(1)
    world.reconcile()
    world.end(1, failed="DeadlineExceeded")
    for _ in range(3):
        world.turn()
    assert (world.reason(), world.accelerated()) == ("Serving", ("False", "PreparationFailed"))
    assert "did not end within 900 s" in world.condition("Accelerated")["message"]
    assert world.registered(1).preparation is not None


def test_a_job_that_cannot_be_made_is_not_waited_for(world: World) -> None:
    create = world.client.create

    def refuse(resource: Any, namespace: str, body: Any, manager: str) -> Any:
        if resource == JOBS:
            raise ApiError(403, "Forbidden", "exceeded quota: count/jobs.batch")
        return create(resource, namespace, body, manager)

    world.client.create = refuse  # type: ignore[method-assign, assignment]
    world.promote(1)
    world.reconcile()
    assert world.deployed == [1]
    for _ in range(3):
        world.turn()
    assert world.accelerated() == ("False", "PreparationFailed")
    assert "exceeded quota" in world.condition("Accelerated")["message"]


def test_going_back_waits_for_nothing(world: World) -> None:
    world.register(2)
    world.promote(2)
    world.reconcile()
    world.prepare(2)
    for _ in range(4):
        world.turn()
    world.promote(1)
    world.reconcile()
    assert world.deployed == [1, 2]


@pytest.mark.parametrize(
    ("rest", "jobs"),
    [
        ({"runtime": "Native"}, 1),
        ({"environment": "Image"}, 1),
        ({"runtime": "Native", "environment": "Image"}, 0),
    ],
)
def test_nothing_is_prepared_that_pods_would_not_use(world: World, rest: dict[str, Any], jobs: int) -> None:
    world.edit(rest)
    world.promote(1)
    world.reconcile()
    assert len(world.jobs) == jobs
    assert (world.deployed == [1]) is not bool(jobs)


def test_native_pods_do_not_use_what_was_verified(world: World) -> None:
    world.edit({"runtime": "Native"})
    world.promote(1)
    world.reconcile()
    world.prepare(1)
    for _ in range(3):
        world.turn()
    assert world.environment(1)["MODELYARD_RUNTIME"] == "native"
    assert (SOURCE in world.environment(1), world.accelerated()) == (False, ("False", "Disabled"))
    world.edit({"runtime": "Auto"})
    for _ in range(3):
        world.turn()
    assert (SOURCE in world.environment(1), world.accelerated()) == (True, ("True", "Verified"))


def test_pods_of_before_are_left_alone_and_nothing_is_said_of_them(world: World) -> None:
    on, world.settings = world.settings, replace(world.settings, preparation=None)
    world.register(2)
    world.promote(2)
    for _ in range(4):
        world.turn()
    assert world.jobs == []
    world.settings = on
    world.writes.clear()
    world.reconcile()
    assert (world.jobs, world.writes) == ([], [])
    assert "Accelerated" not in {each["type"] for each in world.status["conditions"]}


def test_a_deployment_that_somebody_removed_comes_back_at_once(world: World) -> None:
    serve(world)
    (body,) = [body for found, body in world.deployments() if found == 1]
    world.client.delete(DEPLOYMENTS, NAMESPACE, body["metadata"]["name"])
    world.reconcile()
    assert world.deployed == [1]
    assert SOURCE in world.environment(1)


@pytest.mark.parametrize("outcome", ["Verified", "NotConvertible"])
def test_the_operator_may_be_killed_at_any_write(outcome: str) -> None:
    """Every write in turn; the next process goes on and arrives at the same end, with one Job and one record."""
    at = 0
    while True:
        at += 1
        with bucket() as made:
            world = World(made)
            count, killed = 0, False

            def fall(_method: str, _path: str, at: int = at) -> None:
                nonlocal count, killed
                count += 1
                if count == at:
                    killed = True
                    raise Killed

            world.before_write = fall
            world.promote(1)
            for _ in range(8):
                try:
                    world.turn()
                    if world.jobs and "conditions" not in world.job(1).get("status", {}) and world.secret_keys:
                        changed = {} if outcome == "Verified" else {"acceleration": acceleration(outcome)}
                        world.prepare(1, **changed)
                except Killed:
                    continue
            assert world.reason() == "Serving"
            assert (SOURCE in world.environment(1)) is (outcome == "Verified")
            log = world.registry.ledger(NAMESPACE, "churn").events(0)
            assert [each.event.type for each in log].count("VersionPrepared") == 1
            assert (len(world.jobs), world.secret_keys) == (1, set())
            if not killed:
                return
