"""The Experiment reconciler on an API server, a tracking server and a bucket in memory, and a kill at every write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from modelyard.api.project_files import KeptFiles, environment_from_json, from_json
from modelyard.cluster.client import Invalid
from modelyard.cluster.resources import CONFIG_MAPS, EVENTS
from modelyard.decide.experiment_model import (
    ENVIRONMENT_TAG,
    EXECUTION_TAG,
    JOB_TAG,
    PARENT,
    PROJECT_TAG,
    RunStatus,
)
from modelyard.reconcile.base import Outcome
from modelyard.tracking.client import TrackingError, TrackingUnreachable
from tests.fakes import artifacts
from tests.unit.reconcile.experiment_world import (
    COMMIT,
    EXPERIMENTS,
    FILES,
    GIT,
    NAME,
    NAMESPACE,
    SPEC,
    Killed,
    World,
    bucket,
    world,
)

__all__ = ["bucket", "world"]


Json = dict[str, Any]


def test_a_sweep_runs_its_trials_and_registers_the_best(world: World) -> None:
    world.run()
    status = world.status
    assert world.condition == (
        "True",
        "Completed",
        "3 trials succeeded; best is b with f1 0.9; registered as version 1 of churn. "
        "Note: environments are turned off in this installation: the image is used as it is",
    )
    assert status.best_run is not None
    assert status.best_run.parameters == {"configuration": "b", "trees": "10"}
    assert [entry.name for entry in status.leaderboard] == ["b", "c", "a"]
    assert status.registered is not None
    version = world.registry.get_model(NAMESPACE, "churn").status.find(1)
    assert version is not None
    assert (version.run_id, version.source) == (status.best_run.run_id, f"models:/m-{status.best_run.run_id}")
    assert version.artifact == f"s3://models/team/artifacts/1/models/m-{status.best_run.run_id}"


def test_runs_have_mlflows_tags_and_lie_under_their_parent(world: World) -> None:
    world.run()
    (parent,), (child,) = world.runs(PARENT), world.runs("0")
    assert parent.name == f"churn-{world.status.execution}"
    assert world.status.parent_run_id == parent.run_id
    assert {run.status for run in world.tracking.runs.values()} == {RunStatus.FINISHED}
    assert child.name == "a"
    told = dict(child.tags)
    assert told.pop(JOB_TAG) in world.uids
    files, environment = from_json(told.pop(PROJECT_TAG)), environment_from_json(told.pop(ENVIRONMENT_TAG))
    assert isinstance(files, KeptFiles)
    assert (files.origin, files.digest) == ("configmap:files", world.status.content)
    assert environment.image == "training:1"
    assert told == {
        "team": "churn",
        "mlflow.user": "modelyard-operator",
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": "configmap:files",
        "mlflow.project.entryPoint": "train",
        "mlflow.project.backend": "modelyard",
        "mlflow.parentRunId": parent.run_id,
        "modelyard.dev/experiment": "ml/churn",
        "modelyard.dev/execution": world.status.execution,
        "modelyard.dev/trigger": "Spec",
        "modelyard.dev/trial": "0",
        "modelyard.dev/parameters": '{"configuration": "a"}',
        "modelyard.dev/given": '["configuration"]',
        "modelyard.dev/image": "training:1",
    }
    assert world.tracking.experiments == {"churn": {"team": "churn"}}


def test_the_events_of_jobs_without_pods_are_quoted_once_they_have_taken_long(world: World) -> None:
    world.reconcile()
    job = world.jobs[0]["metadata"]["name"]
    refused = {
        "metadata": {"name": "refused", "namespace": NAMESPACE},
        "type": "Warning",
        "reason": "FailedCreate",
        "regarding": {"kind": "Job", "name": job},
        "note": f'Error creating: pods "{job}-x1" is forbidden: exceeded quota: small',
    }
    world.client.create(EVENTS, NAMESPACE, refused, "kube-controller-manager")
    world.reconcile()
    assert "has no pod" in world.condition[2]
    world.now += timedelta(seconds=15)
    # A new process writes at once what else waits for a moment.
    world.restart()
    world.reconcile()
    assert "waits: its pod cannot be made: forbidden: exceeded quota: small" in world.condition[2]


def test_no_more_trials_run_at_a_time_than_asked_for(world: World) -> None:
    world.reconcile()
    assert len(world.jobs) == 2
    assert world.reconcile().requeue_after
    assert len(world.jobs) == 2
    world.work()
    world.reconcile()
    assert len(world.jobs) == 3


def test_a_job_runs_the_command_with_its_run(world: World) -> None:
    world.reconcile()
    body = world.jobs[0]
    (container,) = body["spec"]["template"]["spec"]["containers"]
    assert body["metadata"]["name"] == f"churn-{world.status.execution}-0"
    assert container["command"] == ["bash", "-c", "python train.py a 10"]
    assert container["image"] == "training:1"
    assert {"name": "MLFLOW_RUN_ID", "value": world.runs("0")[0].run_id} in container["env"]


def test_what_is_done_costs_no_write(world: World) -> None:
    world.run()
    world.writes.clear()
    assert world.reconcile() == Outcome(60.0)
    world.restart()
    world.reconcile()
    assert world.writes == []


def test_what_runs_costs_no_write_either(world: World) -> None:
    world.reconcile()
    world.reconcile()
    world.writes.clear()
    for _ in range(3):
        world.reconcile()
    assert world.writes == []


def test_a_finished_experiment_does_not_need_the_tracking_server_or_its_files(world: World) -> None:
    world.run()
    world.client.delete(CONFIG_MAPS, NAMESPACE, "files")
    world.tracking._on_request = failing(TrackingUnreachable("", "down"))
    world.reconcile()
    assert world.condition[:2] == ("True", "Completed")


def test_a_run_that_its_program_left_open_is_ended(world: World) -> None:
    world.run(quietly=True)
    assert {run.status for run in world.tracking.runs.values()} == {RunStatus.FINISHED}


STRICT = {**SPEC, "sweep": {**SPEC["sweep"], "maxFailedTrials": 1}}


def test_too_many_failed_trials_fail_the_experiment_and_nothing_is_registered(world: World) -> None:
    world.edit(STRICT)
    world.reconcile()
    world.work("Failed")
    world.run()
    assert world.condition[:2] == ("False", "TrialsFailed")
    assert [item.name for item in world.status.failures] == ["a", "b"]
    assert [run.status for run in world.runs("0")] == [RunStatus.FAILED]
    assert world.runs(PARENT)[0].status is RunStatus.FAILED
    assert world.registry.find_model(NAMESPACE, "churn") is None


def test_a_bound_that_is_lowered_registers_without_training_again(world: World) -> None:
    strict = {**SPEC, "register": {"model": "churn", "when": [{"metric": "f1", "min": "0.95"}]}}
    world.edit(strict)
    world.run()
    assert world.condition[:2] == ("False", "NotGoodEnough")
    world.edit(SPEC)
    world.reconcile()
    assert world.condition[:2] == ("True", "Completed")
    assert len(world.tracking.runs) == 4


def test_a_changed_spec_starts_anew_and_stops_what_ran(world: World) -> None:
    world.reconcile()
    first, old = world.status.execution, {run.run_id for run in world.tracking.runs.values()}
    world.edit({**SPEC, "parameters": {"trees": "20"}})
    world.run()
    assert world.status.execution != first
    assert {world.tracking.runs[run_id].status for run_id in old} == {RunStatus.KILLED}
    assert {body["metadata"]["labels"]["modelyard.dev/execution"] for body in world.jobs} == {world.status.execution}
    assert world.condition[:2] == ("True", "Completed")


def test_an_edited_config_map_starts_anew(world: World) -> None:
    world.run()
    first = world.status.execution
    files = {**FILES, "train.py": "print('better')"}
    body = {"metadata": {"name": "files", "namespace": NAMESPACE}, "data": files}
    world.client.apply(CONFIG_MAPS, body, "kubectl")
    world.run()
    world.reconcile()
    assert world.status.execution != first


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"entryPoint": "tune"}, "EntryPointNotFound", "Could not find tune among entry points ['train']"),
        ({"sweep": None}, "ParameterInvalid", "No value given for missing parameters: 'configuration'"),
        ({"parameters": {"trees": "many"}}, "ParameterInvalid", "Expected int for parameter trees but got 'many'"),
        ({"project": {"configMap": {"name": "other"}}}, "ProjectNotFound", "there is no ConfigMap other"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_made(
    world: World, change: Json, reason: str, words: str
) -> None:
    world.edit({**SPEC, **change})
    assert world.reconcile().requeue_after
    assert world.condition[:2] == ("False", reason)
    assert words in world.condition[2]
    assert world.status.conditions[1].type == "Stalled"
    assert (world.jobs, world.tracking.writes) == ([], [])
    world.writes.clear()
    world.reconcile()
    assert world.writes == []


def test_a_spec_that_became_unusable_stops_what_ran(world: World) -> None:
    world.reconcile()
    world.reconcile()
    world.edit({**SPEC, "entryPoint": "tune"})
    world.reconcile()
    assert world.jobs == []
    assert {run.status for run in world.tracking.runs.values()} == {RunStatus.KILLED}
    assert world.condition[1] == "EntryPointNotFound"


def test_a_branch_is_resolved_once_an_execution(bucket: artifacts.Bucket) -> None:
    world = World(bucket, GIT)
    world.reconcile()
    world.git.heads["main"] = "d" * 40
    world.restart()
    world.run()
    assert world.status.commit == COMMIT
    assert {run.tags["mlflow.source.git.commit"] for run in world.tracking.runs.values()} == {COMMIT}
    assert {run.tags["mlflow.source.git.repoURL"] for run in world.tracking.runs.values()} == {
        "https://git.example/churn.git"
    }
    assert world.runs("0")[0].tags["mlflow.source.name"] == "https://git.example/churn.git#sub"
    assert world.reconcile() == Outcome(None)
    assert world.git.reads == 2, "once before the restart and once after it"


def test_git_that_does_not_answer_is_tried_again(bucket: artifacts.Bucket) -> None:
    world = World(bucket, GIT)
    world.git.down = True
    assert world.reconcile().requeue_after
    assert world.condition[:2] == ("Unknown", "ProjectUnreachable")
    world.git.down = False
    world.run()
    assert world.condition[:2] == ("True", "Completed")


def test_an_unknown_revision_waits_for_a_person(bucket: artifacts.Bucket) -> None:
    world = World(bucket, GIT)
    world.git.heads = {}
    world.reconcile()
    assert world.condition[:2] == ("False", "ProjectNotFound")


def failing(error: Exception) -> Callable[[str, str], None]:
    def fail(method: str, what: str) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TrackingUnreachable("", "no answer"), ("Unknown", "TrackingServerUnreachable", "no answer")),
        (TrackingError("INVALID_STATE", "was deleted"), ("False", "TrackingServerRefused", "was deleted")),
    ],
)
def test_trouble_with_the_tracking_server_is_told_and_tried_again(
    world: World, error: Exception, expected: tuple[str, str, str]
) -> None:
    hook = world.tracking._on_request
    world.tracking._on_request = failing(error)
    assert world.reconcile().requeue_after
    assert world.condition == expected
    world.tracking._on_request = hook
    world.run()
    assert world.condition[:2] == ("True", "Completed")


def test_a_job_that_the_cluster_refuses_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Json:
        raise Invalid(422, "Invalid", "exceeded quota: pods")

    with monkeypatch.context() as patch:
        patch.setattr(world.client, "create", refuse)
        world.reconcile()
    assert world.condition == ("False", "ObjectRefused", "exceeded quota: pods")
    world.run()
    assert len(world.tracking.runs) == 4


def test_a_run_without_its_model_says_so(world: World) -> None:
    register = {"model": "churn", "artifactPath": "other"}
    world.edit({**SPEC, "register": register})
    world.run()
    assert world.condition[:2] == ("False", "RegistrationFailed")
    assert "run b has no model 'other'" in world.condition[2]


def test_an_experiment_that_is_gone_is_left_alone(world: World) -> None:
    world.client.delete(EXPERIMENTS, NAMESPACE, NAME)
    assert world.reconcile() == Outcome()


def test_an_experiment_made_anew_runs_anew(world: World) -> None:
    world.run()
    first = world.status.execution
    world.client.delete(EXPERIMENTS, NAMESPACE, NAME)
    world.client.create(EXPERIMENTS, NAMESPACE, world.body(SPEC), "kubectl")
    world.run()
    assert world.status.execution != first
    assert len(world.tracking.runs) == 8


@pytest.mark.parametrize("spec", [SPEC, GIT], ids=["configMap", "git"])
@pytest.mark.parametrize("quietly", [False, True], ids=["", "runs-left-open"])
def test_killed_at_any_write_nothing_is_lost_or_doubled(bucket: artifacts.Bucket, spec: Json, quietly: bool) -> None:
    reference = World(bucket, spec)
    reference.run(quietly=quietly)
    total = len(reference.writes)
    assert total > 15
    for kill_at in range(1, total + 2):
        empty(bucket)
        world = World(bucket, spec)
        world.kill_at = kill_at
        if kill_at <= total:
            with pytest.raises(Killed):
                world.run(quietly=quietly)
            world.git.heads["main"] = "d" * 40
        world.restart()
        world.run(quietly=quietly)
        assert_all_there_once(world)


def assert_all_there_once(world: World) -> None:
    assert world.condition[:2] == ("True", "Completed")
    execution = world.status.execution
    for trial in ("0", "1", "2", PARENT):
        (run,) = world.runs(trial)
        assert run.status is RunStatus.FINISHED
        assert run.tags[EXECUTION_TAG] == execution
    assert [body["metadata"]["labels"]["modelyard.dev/trial"] for body in world.jobs] == ["0", "1", "2"]
    assert {run.parameters["trees"] for trial in ("0", "1", "2") for run in world.runs(trial)} == {"10"}
    versions = world.registry.get_model(NAMESPACE, "churn").status.versions
    assert [version.version for version in versions] == [1]


def empty(bucket: artifacts.Bucket) -> None:
    listing = bucket.s3.list_objects_v2(Bucket=artifacts.SETTINGS.bucket)
    for item in listing.get("Contents", []):
        bucket.s3.delete_object(Bucket=artifacts.SETTINGS.bucket, Key=item["Key"])
