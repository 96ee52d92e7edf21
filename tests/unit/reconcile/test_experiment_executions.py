"""Executions of an Experiment that begin again, wait, are held up, lose pods or are given up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.api.project_files import Directory, TrialEnvironment
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import JOBS, PODS
from modelyard.decide.experiment_model import MADE_BY_TAG, PARENT, Run, RunStatus
from modelyard.reconcile.base import Outcome
from modelyard.reconcile.environments import Ready, Waiting
from tests.fakes import artifacts
from tests.unit.reconcile.experiment_world import (
    EXPERIMENTS,
    FILES,
    MLPROJECT,
    NAME,
    NAMESPACE,
    SPEC,
    World,
    bucket,
    world,
)

__all__ = ["bucket", "world"]


Json = dict[str, Any]
SINGLE: Json = {**SPEC, "sweep": None, "parameters": {"configuration": "b"}}


def test_the_annotation_runs_it_once_more_and_leaves_the_runs_of_before(world: World) -> None:
    world.run()
    first, before = world.status.execution, set(world.tracking.runs)
    world.annotate(run="tuesday")
    world.run()
    status = world.status
    assert status.execution != first
    assert before < set(world.tracking.runs)
    assert (status.trigger.kind, status.trigger.value) == ("Annotation", "tuesday") if status.trigger else False
    assert [(item.id, item.reason) for item in status.executions] == [(first, "Completed")]
    assert [status.registered.version if status.registered else 0, status.executions[0].version] == [2, 1]
    world.writes.clear()
    world.reconcile()
    assert world.writes == []


def test_a_schedule_runs_when_it_is_due_and_tells_when_next(bucket: artifacts.Bucket) -> None:
    world = World(bucket, {**SPEC, "schedule": "0 3 * * *"})
    assert world.reconcile().requeue_after == pytest.approx(15 * 3600, abs=2)
    assert world.condition[1:] == ("Scheduled", "it runs at 2026-05-02T03:00:00Z, as spec.schedule says")
    assert world.jobs == []
    world.now = datetime(2026, 5, 2, 3, 0, 1, tzinfo=UTC)
    world.run()
    assert world.status.last_schedule_at == "2026-05-02T03:00:00Z"
    assert world.reconcile().requeue_after
    assert world.status.next_schedule_at == "2026-05-03T03:00:00Z"
    first = world.status.execution
    world.restart()
    world.reconcile()
    assert world.status.execution == first
    world.now = datetime(2026, 5, 3, 4, tzinfo=UTC)
    world.run()
    assert [item.id for item in world.status.executions] == [first]


def test_a_bad_schedule_is_refused_before_anything_is_made(bucket: artifacts.Bucket) -> None:
    world = World(bucket, {**SPEC, "schedule": "0 3 * * 9"})
    world.reconcile()
    assert world.condition[:2] == ("False", "InvalidSpec")
    assert "spec.schedule" in world.condition[2]
    assert (world.jobs, world.tracking.writes) == ([], [])


def test_what_is_suspended_starts_no_trial_and_goes_on_afterwards(world: World) -> None:
    world.reconcile()
    world.edit({**SPEC, "suspend": True})
    world.work()
    world.reconcile()
    world.reconcile()
    assert len(world.jobs) == 2
    assert world.condition[:2] == ("Unknown", "Suspended")
    world.edit(SPEC)
    world.run()
    assert world.condition[:2] == ("True", "Completed")
    assert len(world.tracking.runs) == 4


def test_a_suspended_schedule_says_so(bucket: artifacts.Bucket) -> None:
    world = World(bucket, {**SPEC, "schedule": "0 3 * * *", "suspend": True})
    world.now = datetime(2026, 5, 3, 4, tzinfo=UTC)
    world.reconcile()
    assert world.condition == ("Unknown", "Suspended", "spec.suspend holds the schedule back")
    assert world.jobs == []


def test_a_trial_whose_pod_is_deleted_runs_again_with_the_same_run(world: World) -> None:
    world.reconcile()
    runs = set(world.tracking.runs)
    world.end(world.jobs[0], "Failed")
    world.reconcile()
    world.reconcile()
    names = {body["metadata"]["name"] for body in world.jobs}
    assert names == {f"churn-{world.status.execution}-0-r2", f"churn-{world.status.execution}-1"}
    assert set(world.tracking.runs) == runs
    world.run()
    assert world.condition[:2] == ("True", "Completed")
    assert len(world.tracking.runs) == 4


def test_a_deleted_job_is_a_failure_with_a_name_and_is_not_run_again(world: World) -> None:
    world.reconcile()
    world.client.delete(JOBS, NAMESPACE, world.jobs[0]["metadata"]["name"])
    world.run()
    assert [(item.name, item.reason) for item in world.status.failures] == [("a", "JobDeleted")]
    assert world.condition[:2] == ("True", "Completed")


def test_a_failed_trial_keeps_its_log_and_its_reason_in_the_tracking_server(world: World) -> None:
    world.reconcile()
    job = world.jobs[0]
    path = PODS.path(NAMESPACE, job["metadata"]["name"], "log")
    world.client.answers[path] = b"epoch 1\nValueError: no such column\n"
    world.work("Failed")
    world.reconcile()
    (run,) = world.runs("0")
    assert run.tags["modelyard.dev/outcome"] == "Error"
    assert run.tags["modelyard.dev/message"] == "exit code 1: ValueError: no such column"
    assert b"ValueError: no such column" in world.tracking.artifacts[run.run_id]["modelyard/log.txt"]


def test_a_quota_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Json:
        raise ApiError(403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: trials, requested: count/jobs=1')

    with monkeypatch.context() as patch:
        create = world.client.create
        patch.setattr(world.client, "create", lambda kind, *rest: refuse() if kind == JOBS else create(kind, *rest))
        for _ in range(3):
            world.reconcile()
        assert world.condition[:2] == ("Unknown", "TrialsRunning")
        assert "no trial can be started now: " in world.condition[2]
        assert "exceeded quota: trials" in world.condition[2]
    world.run()
    assert len(world.tracking.runs) == 4


def test_runs_that_the_program_makes_are_results_and_the_best_of_them_is_registered(bucket: artifacts.Bucket) -> None:
    world = World(bucket, SINGLE)
    world.metrics = lambda _: {}
    world.reconcile()
    (job,) = world.jobs
    (container,) = job["spec"]["template"]["spec"]["containers"]
    context = next(item["value"] for item in container["env"] if item["name"] == "MLFLOW_RUN_CONTEXT")
    tags = json.loads(context)
    (own,) = world.runs("0")
    assert tags["mlflow.parentRunId"] == tags[MADE_BY_TAG] == own.run_id
    for name, value in (("x", 0.6), ("y", 0.8)):
        made = world.tracking.create_run("1", name, tags, 5)
        world.tracking.change(made.run_id, status=RunStatus.FINISHED, metrics={"f1": value})
        world.put_model(made.run_id)
    world.run()
    assert world.condition[2].startswith("1 trial succeeded; best is y with f1 0.8; registered as version 1")
    assert [entry.name for entry in world.status.leaderboard] == ["y", "x"]


def test_hopeless_trials_are_stopped_and_do_not_count_as_failed(bucket: artifacts.Bucket) -> None:
    stopping = {"algorithm": "Median", "minTrials": 1, "minSteps": 1}
    world = World(bucket, {**SPEC, "sweep": {**SPEC["sweep"], "parallelism": 1, "earlyStopping": stopping}})
    world.reconcile()
    world.tracking.histories[world.runs("0")[0].run_id, "f1"] = [(1, 0.6), (2, 0.7)]
    world.work()
    world.reconcile()
    world.reconcile()
    (second,) = world.runs("1")
    world.tracking.histories[second.run_id, "f1"] = [(1, 0.1), (2, 0.1)]
    world.restart()
    world.reconcile()
    world.reconcile()
    (second,) = world.runs("1")
    assert (second.status, second.tags["modelyard.dev/outcome"]) == (RunStatus.KILLED, "Stopped")
    world.run()
    counts = world.status.runs
    assert counts is not None
    assert (counts.succeeded, counts.stopped, counts.failed) == (2, 1, 0)
    assert world.condition[2].startswith("2 of 3 trials succeeded; 1 stopped early; best is c")


def test_a_program_that_ends_well_before_it_is_stopped_has_ended_well(
    bucket: artifacts.Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = {"algorithm": "Median", "minTrials": 1, "minSteps": 1}
    world = World(bucket, {**SPEC, "sweep": {**SPEC["sweep"], "parallelism": 1, "earlyStopping": stopping}})
    world.reconcile()
    world.tracking.histories[world.runs("0")[0].run_id, "f1"] = [(1, 0.6), (2, 0.7)]
    world.work()
    world.reconcile()
    world.reconcile()
    (second,) = world.runs("1")
    world.tracking.histories[second.run_id, "f1"] = [(1, 0.1), (2, 0.1)]
    world.restart()
    get_run = world.tracking.get_run

    def finished_meanwhile(run_id: str) -> Run | None:
        """Return the run as it is by the time that the operator looks once more."""
        if run_id == second.run_id:
            world.work()
        return get_run(run_id)

    with monkeypatch.context() as patch:
        patch.setattr(world.tracking, "get_run", finished_meanwhile)
        world.reconcile()
    world.run()
    (second,) = world.runs("1")
    assert second.status is RunStatus.FINISHED
    counts = world.status.runs
    assert counts is not None
    assert (counts.succeeded, counts.stopped, counts.failed) == (3, 0, 0)


class Slow:
    """Environments that take their time, and are there in the end."""

    def __init__(self) -> None:
        self.ready = False
        self.asked: list[Directory | None] = []

    def ensure(self, *arguments: Any, **_: Any) -> Ready | Waiting:
        directory: Directory | None = arguments[2]
        self.asked.append(directory)
        if not self.ready:
            return Waiting("Job environment-1 installs 12 packages", 3.0)
        return Ready(
            TrialEnvironment("k1", arguments[4], lock="sha256:1", packages=12),
            directory or Directory(frozenset(FILES), {"MLproject": MLPROJECT}),
        )


def test_trials_wait_for_their_environment_and_the_status_says_so(world: World) -> None:
    slow = Slow()
    parts = world.reconciler._parts
    world.reconciler._parts = replace(parts, environments=slow)
    assert world.reconcile() == Outcome(3.0)
    assert world.condition == ("Unknown", "EnvironmentBuilding", "Job environment-1 installs 12 packages")
    assert (world.jobs, world.tracking.runs) == ([], {})
    slow.ready = True
    world.run()
    assert world.status.environment is not None
    assert (world.status.environment.key, world.status.environment.packages) == ("k1", 12)


def test_a_project_in_an_image_is_read_there_first(bucket: artifacts.Bucket) -> None:
    world = World(bucket, {**SPEC, "project": {"image": {"path": "/opt/churn"}}})
    slow = Slow()
    slow.ready = True
    world.reconciler._parts = replace(world.reconciler._parts, environments=slow)
    world.run()
    assert slow.asked[0] is None
    assert slow.asked[1] is not None
    assert world.condition[:2] == ("True", "Completed")


def test_without_a_project_the_runs_of_others_are_followed_and_the_best_registered(bucket: artifacts.Bucket) -> None:
    spec = {"objective": {"metric": "f1"}, "register": {"model": "churn", "when": [{"metric": "f1", "min": "0.7"}]}}
    world = World(bucket, spec)
    assert world.reconcile().requeue_after == 30.0
    assert world.condition == ("True", "Following", "it follows the runs that others log")

    def logged(value: float) -> Run:
        made = world.tracking.create_run("1", f"r{value}", {}, 5)
        world.tracking.change(made.run_id, status=RunStatus.FINISHED, metrics={"f1": value})
        world.put_model(made.run_id)
        return made

    logged(0.6)
    world.reconcile()
    assert "not registered: f1 0.6 is below min 0.7" in world.condition[2]
    best = logged(0.8)
    world.reconcile()
    status = world.status
    assert status.registered is not None
    assert (status.registered.version, status.registered.run_id) == (1, best.run_id)
    assert status.runs is not None
    assert (status.runs.total, status.runs.succeeded) == (2, 2)
    world.writes.clear()
    world.reconcile()
    assert world.writes == []
    assert world.client.list_all(PODS, NAMESPACE) == world.jobs == []


def test_runs_that_are_followed_are_kept_as_retention_says(bucket: artifacts.Bucket) -> None:
    world = World(bucket, {"objective": {"metric": "f1"}, "retention": {"maxRuns": 1, "keepBest": 0}})
    for number in range(3):
        made = world.tracking.create_run("1", f"r{number}", {}, number)
        world.tracking.change(made.run_id, status=RunStatus.FINISHED, end_time=number + 1, metrics={"f1": number})
    world.reconcile()
    world.reconcile()
    assert [run.name for run in world.tracking.runs.values()] == ["r2"]
    assert world.status.clean_up is not None
    assert world.status.clean_up.runs == 2


def test_what_an_earlier_operator_finished_is_not_run_again(world: World) -> None:
    world.run()
    body = world.client.get(EXPERIMENTS, NAMESPACE, NAME)
    told = {**body["status"], "execution": "of-before"}
    del told["trigger"], told["content"]
    world.client.replace_status(EXPERIMENTS, {**body, "status": told}, "modelyard-operator")
    world.restart()
    world.writes.clear()
    world.reconcile()
    assert world.writes == []
    world.annotate(run="now")
    world.run()
    assert len(world.tracking.runs) == 8


def test_the_runs_of_an_experiment_that_is_deleted_are_ended(world: World) -> None:
    world.reconcile()
    world.client.delete(EXPERIMENTS, NAMESPACE, NAME)
    assert world.reconcile() == Outcome()
    assert {run.status for run in world.tracking.runs.values()} == {RunStatus.KILLED}


def test_many_trials_are_started_some_at_a_time(bucket: artifacts.Bucket) -> None:
    values = [str(number) for number in range(40)]
    sweep = {"parameters": {"configuration": {"values": values}}, "parallelism": 40}
    world = World(bucket, {**SPEC, "sweep": sweep})
    assert world.reconcile().requeue_after == 1.0
    assert len(world.jobs) == 25
    world.reconcile()
    assert len(world.jobs) == 40


def test_the_same_run_id_is_never_given_to_two_trials(world: World) -> None:
    world.run()
    trials = [run.tags["modelyard.dev/trial"] for run in world.tracking.runs.values()]
    assert sorted(trials) == sorted({PARENT, "0", "1", "2"})
