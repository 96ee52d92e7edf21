"""The Jobs of gates, up to the promotion that they lead to, with a kill at every write."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest

from modelyard.api.model_status import Verdict
from modelyard.cluster.client import ApiError, Invalid
from modelyard.cluster.resources import (
    JOBS,
    SECRETS,
    ResourceType,
)
from modelyard.reconcile.gate_jobs import LOG_LIMIT
from modelyard.registry.registry import Candidate
from tests.fakes import artifacts
from tests.unit.reconcile.gate_world import (
    NAME,
    NAMESPACE,
    SMOKE,
    Json,
    Killed,
    World,
    gates,
    world,
)

__all__ = ["gates", "world"]


def test_a_version_is_promoted_when_its_job_has_passed(world: World) -> None:
    model = world.promote()
    (job,) = world.jobs()
    (candidate,) = model.status.candidates
    assert (candidate.version, candidate.verdict) == (2, Verdict.RUNNING)
    assert candidate.gates[0].message == f"Job {job['metadata']['name']} was started"
    assert world.in_production() == 1
    world.end(job, passed=True)
    model = world.reconcile()
    assert world.in_production() == 2
    assert model.status.candidates == ()
    assert model.status.transitions[0].gates in ("1 passed", None)
    assert world.events("PromotionRefused") == 0


def test_the_job_gets_what_it_needs_to_read_the_version(world: World) -> None:
    model = world.promote()
    (job,) = world.jobs()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    found = {item["name"]: item["value"] for item in container["env"]}
    version = model.status.find(2)
    assert version is not None
    assert (found["MODEL_URI"], found["MODEL_DIGEST"]) == (version.artifact, version.digest)
    assert (container["image"], found["MLFLOW_TRACKING_URI"]) == ("training:1", "http://tracking:5000")
    assert world.client.find(SECRETS, NAMESPACE, "modelyard-artifacts-reader") is not None


def test_the_log_and_the_verdict_are_kept(world: World) -> None:
    world.promote()
    (job,) = world.jobs()
    name = job["metadata"]["name"]
    world.end(job, passed=False, log=b"loading\nAssertionError: f1 is 0.3\n")
    model = world.reconcile()
    kept = world.evidence()
    assert kept[f"{name}.log"] == b"loading\nAssertionError: f1 is 0.3\n"
    verdict = json.loads(kept[f"{name}.json"])
    digest = hashlib.sha256(kept[f"{name}.log"]).hexdigest()
    assert verdict["log"] == {"bytes": 34, "sha256": digest}
    assert (verdict["gate"], verdict["stage"], verdict["version"], verdict["verdict"]) == (
        "smoke",
        "production",
        2,
        "Failed",
    )
    (result,) = model.status.candidates[0].gates
    assert result.message == f"exit code 1: AssertionError: f1 is 0.3 after 12 s ({name}.log, sha256:{digest[:16]})"
    assert model.status.conditions[0].reason == "GatesNotPassed"
    assert f"smoke failed: {result.message}" in model.status.conditions[0].message


def test_a_refused_version_is_not_tried_again_until_something_changes(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=False)
    world.reconcile()
    assert world.events("PromotionRefused") == 1
    world.client.requests.clear()
    world.reconcile()
    assert world.client.writes == []
    world.restart()
    world.reconcile()
    assert (len(world.jobs()), world.events("PromotionRefused")) == (1, 1)
    world.edit(description="another word")
    world.reconcile()
    assert len(world.jobs()) == 2


def test_an_edit_of_something_else_does_not_start_the_job_again(world: World) -> None:
    world.promote()
    world.edit(aliases={"champion": 1})
    world.reconcile()
    (job,) = world.jobs()
    world.end(job, passed=True)
    world.reconcile()
    assert world.in_production() == 2


def test_a_version_that_comes_back_has_passed_already(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=True)
    world.reconcile()
    world.client.delete(JOBS, NAMESPACE, world.jobs()[0]["metadata"]["name"])
    world.edit(gates={"production": []})
    world.promote(1)
    world.edit(gates={"production": [SMOKE]})
    world.restart()
    assert world.promote(2).status.stages["production"].version == 2
    assert world.jobs() == []


def test_the_job_of_a_version_that_is_wanted_no_more_is_stopped(world: World) -> None:
    artifact = world.bucket.put_model("v3", b"3")
    world.registry.register_version(NAMESPACE, NAME, Candidate(artifact, artifact, "test"))
    world.promote(2)
    world.promote(3)
    assert [job["metadata"]["labels"]["modelyard.dev/model-version"] for job in world.jobs()] == ["3"]


def test_a_job_that_does_not_get_on_is_told(world: World) -> None:
    world.promote()
    (job,) = world.jobs()
    name = job["metadata"]["name"]
    found = f"Job {name} does not get on: its Job has no pod; kubectl describe job {name} says why"
    assert world.verdict() == ("Running", found)


def test_a_job_that_takes_too_long_is_told_so(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=False, reason="DeadlineExceeded")
    verdict, message = world.verdict()
    assert verdict == "Failed"
    assert message.startswith("it was stopped: it may take 60 s after 12 s (")


@pytest.mark.parametrize("passed", [True, False])
def test_a_kill_at_any_write_changes_nothing_in_the_outcome(gates: list[Json], passed: bool) -> None:
    for killed_at in range(12):
        with artifacts.bucket() as bucket:
            world = World(bucket, gates)
            world.edit(stages={"production": 2})
            finished = _carried_through(world, killed_at, passed)
            assert len(world.jobs()) == 1
            assert world.in_production() == (2 if passed else 1)
            assert world.events("PromotionRefused") == (0 if passed else 1)
            assert len(world.evidence()) == 2
            if finished:
                return
    pytest.fail("there are more writes than that")


def _carried_through(world: World, killed_at: int, passed: bool) -> bool:
    """Reconcile until all is said, with one kill; return whether all was done before it."""
    world.left = killed_at
    killed = False
    for _ in range(6):
        try:
            world.reconcile()
        except Killed:
            killed = True
            world.restart()
            continue
        left, world.left = world.left, None
        for job in world.jobs():
            if not job.get("status"):
                world.end(job, passed=passed)
        world.left = left
    return not killed


def test_only_the_end_of_a_long_log_is_kept(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=True, log=b"a" * LOG_LIMIT + b"the end\n")
    world.reconcile()
    kept = next(data for name, data in world.evidence().items() if name.endswith(".log"))
    assert kept.startswith(b"(the beginning was cut off)\n")
    assert kept.endswith(b"the end\n")
    assert len(kept) < LOG_LIMIT + 100


def test_a_pod_that_is_gone_leaves_a_verdict_without_a_log(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=False, log=None)
    verdict, message = world.verdict()
    assert (verdict, message.split(" after")[0]) == ("Failed", "Job has reached the limit")
    assert b"(there is no log: the pod is gone)\n" in world.evidence().values()


def test_a_node_that_does_not_answer_is_waited_for_but_not_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> bytes:
        raise ApiError(500, "InternalError", "dial tcp 10.0.0.1:10250: connection refused")

    world.promote()
    world.end(world.jobs()[0], passed=True)
    monkeypatch.setattr(world.client, "read", unreachable)
    verdict, message = world.verdict()
    assert (verdict, "its log cannot be read yet" in message) == ("Unknown", True)
    assert world.evidence() == {}
    world.now += timedelta(minutes=11)
    assert world.verdict()[0] == "Passed"
    assert any(b"connection refused" in data for data in world.evidence().values())


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(Invalid(422, "Invalid", "spec is wrong"), "Failed"), (ApiError(403, "Forbidden", "quota exceeded"), "Unknown")],
)
def test_a_job_that_the_api_server_does_not_take(
    world: World, monkeypatch: pytest.MonkeyPatch, error: ApiError, verdict: str
) -> None:
    create = world.client.create

    def refuse(resource: ResourceType, *rest: Any) -> Json:
        if resource is JOBS:
            raise error
        return create(resource, *rest)

    monkeypatch.setattr(world.client, "create", refuse)
    found, message = world.verdict()
    assert found == verdict
    assert str(error) in message


def test_a_job_of_an_object_that_was_deleted_is_no_evidence(world: World) -> None:
    world.promote()
    (job,) = world.jobs()
    job["metadata"]["ownerReferences"][0]["uid"] = "another"
    world.client.apply(JOBS, job, "test")
    world.end(job, passed=True)
    verdict, message = world.verdict()
    assert (verdict, message) == ("Running", f"Job {job['metadata']['name']} of before is about to be removed")
    assert world.evidence() == {}
