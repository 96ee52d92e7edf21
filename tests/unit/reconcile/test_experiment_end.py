"""The end of an execution: it is told only once nothing is left to do about its trials."""

from __future__ import annotations

import json

import pytest

from modelyard.decide import experiment
from modelyard.decide.experiment_model import MADE_BY_TAG, RunStatus
from tests.fakes import artifacts
from tests.unit.reconcile.experiment_world import SPEC, World, bucket

__all__ = ["bucket"]


@pytest.mark.parametrize("cold", [False, True], ids=["known", "cold"])
def test_the_last_trial_is_stopped_and_its_run_ended_before_the_execution_is(
    bucket: artifacts.Bucket, cold: bool
) -> None:
    stopping = {"algorithm": "Median", "minTrials": 1, "minSteps": 1}
    world = World(bucket, {**SPEC, "sweep": {**SPEC["sweep"], "parallelism": 3, "earlyStopping": stopping}})
    world.reconcile()
    (last,) = world.runs("2")
    world.tracking.histories[world.runs("0")[0].run_id, "f1"] = [(1, 0.6), (2, 0.7)]
    world.tracking.histories[last.run_id, "f1"] = [(1, 0.1), (2, 0.1)]
    for body in world.jobs:
        run_id = body["metadata"]["annotations"]["modelyard.dev/run-id"]
        if run_id != last.run_id:
            world.tracking.change(run_id, status=RunStatus.FINISHED, metrics={"f1": 0.7})
            world.put_model(run_id)
            world.end(body, "Complete")
    if cold:
        world.restart()
    while not world.status.finished_at:
        world.reconcile()
    (last,) = world.runs("2")
    assert (last.status, last.tags["modelyard.dev/outcome"]) == (RunStatus.KILLED, "Stopped")
    assert len(world.jobs) == 2
    assert world.condition[2].startswith("2 of 3 trials succeeded; 1 stopped early")


@pytest.mark.parametrize("state", ["Complete", "Failed"])
def test_jobs_beyond_the_newest_are_gone_once_it_has_ended(
    bucket: artifacts.Bucket, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(experiment, "KEPT_JOBS", 1)
    world = World(bucket, {**SPEC, "sweep": {**SPEC["sweep"], "parallelism": 3}})
    world.run(state=state, quietly=True)
    assert [body["metadata"]["labels"]["modelyard.dev/trial"] for body in world.jobs] == ["2"]


def test_runs_that_a_trial_makes_and_ends_between_two_looks_are_its_results(bucket: artifacts.Bucket) -> None:
    world = World(bucket, {**SPEC, "sweep": {**SPEC["sweep"], "parallelism": 1}})
    world.metrics = lambda name: {} if name == "a" else {"f1": 0.6}
    world.reconcile()
    (job,) = world.jobs
    (container,) = job["spec"]["template"]["spec"]["containers"]
    tags = json.loads(next(item["value"] for item in container["env"] if item["name"] == "MLFLOW_RUN_CONTEXT"))
    (own,) = world.runs("0")
    assert tags[MADE_BY_TAG] == own.run_id
    made = world.tracking.create_run("1", "x", tags, 5)
    world.tracking.change(made.run_id, status=RunStatus.FINISHED, metrics={"f1": 0.8})
    world.put_model(made.run_id)
    world.run()
    assert world.condition[2].startswith("3 trials succeeded; best is x with f1 0.8")
