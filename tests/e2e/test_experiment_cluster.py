"""Experiments among others: quota and queues, suspension, time limits, running again, schedules, and clean-up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient

from examples.demo.kubectl import Kubectl
from tests.e2e.bell import Bell
from tests.e2e.processes import wait_until
from tests.e2e.trials import ENVIRONMENT_SECONDS, Json, Trials, outcome, project, waiting_project
from tests.e2e.trials_fixtures import bell, own_bell, team, tracking, trials

__all__ = ["bell", "own_bell", "team", "tracking", "trials"]

pytestmark = pytest.mark.timeout(1500)

SAID_SECONDS = 180.0
"""In which the status says what holds trials back: a trial may have to come as far as its pod before that."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

# Logs its parameter and a model, and ends.
SCORE = """\
    log(score=float(given.score))
    put_model(given.score.encode())
    """


def sweep_of(*scores: str, parallelism: int) -> Json:
    return {"parameters": {"score": {"values": list(scores)}}, "parallelism": parallelism}


def quick(name: str) -> Json:
    return project(name, {"score": "float"}, SCORE)


@pytest.fixture(scope="module", autouse=True)
def scheduled(team: Kubectl, tracking: MlflowClient) -> Iterator[Trials]:
    """An Experiment that runs at every minute: it comes about while the other tests run."""
    made = Trials(team, tracking)
    spec = {"parameters": {"score": "1"}, "schedule": "* * * * *", "objective": {"metric": "score"}}
    made.apply(quick(made.name), made.experiment(**spec))
    yield made
    made.remove()


@contextmanager
def quota(kubectl: Kubectl, hard: dict[str, str]) -> Iterator[None]:
    """A ResourceQuota of the namespace, in force."""
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    try:
        kubectl.wait_for("resourcequota", "small", lambda found: "used" in found.get("status", {}), 90)
        yield
    finally:
        kubectl("delete", "resourcequota", "small")


def none_runs(kubectl: Kubectl) -> bool:
    live = "status.phase!=Succeeded,status.phase!=Failed"
    return not kubectl("get", "pods", "--field-selector", live, "-o", "name").split()


def owners(kubectl: Kubectl) -> list[str]:
    """Return the Experiment of each trial's Job in the namespace."""
    jobs = json.loads(kubectl("get", "jobs", "-l", "modelyard.dev/trial", "-o", "json"))["items"]
    return [each["metadata"]["labels"]["modelyard.dev/experiment"] for each in jobs]


def test_trials_wait_for_a_quota_of_pods(trials: Trials, own_bell: Bell) -> None:
    wait_until("the namespace has no other pods", lambda: none_runs(trials.kubectl), 240)
    # One is for the schedule's trial, which may come in between.
    with quota(trials.kubectl, {"pods": "2"}):
        sweep = sweep_of("1", "2", "3", parallelism=3)
        trials.apply(waiting_project(trials.name, own_bell), trials.experiment(sweep=sweep))
        own_bell.wait_begun(1)
        words = "its pod cannot be made: forbidden: exceeded quota: small"
        trials.wait(lambda status: words in status["conditions"][0]["message"], SAID_SECONDS)
        assert trials.status()["runs"]["pending"] >= 1
        assert len(own_bell.begun) <= 2
        own_bell.release()
        body = trials.wait_ended()
    assert outcome(body) == ("True", "Completed")
    assert sorted(own_bell.begun.values()) == [1, 1, 1]


def test_trials_wait_for_a_quota_of_jobs(trials: Trials, scheduled: Trials, own_bell: Bell) -> None:
    """The API server refuses the Jobs themselves then; ended ones make room."""
    # The Jobs of tests before this one go a while after their Experiments; the schedule's own come one for the other.
    wait_until("the only trial's Job is the schedule's", lambda: owners(trials.kubectl) == [scheduled.name], 240)
    mine = len(json.loads(trials.kubectl("get", "jobs", "-o", "json"))["items"])
    with quota(trials.kubectl, {"count/jobs.batch": str(mine + 1)}):
        sweep = sweep_of("1", "2", "3", parallelism=3)
        trials.apply(waiting_project(trials.name, own_bell), trials.experiment(sweep=sweep))
        own_bell.wait_begun(1)
        trials.wait(lambda status: "exceeded quota" in status["conditions"][0]["message"], SAID_SECONDS)
        own_bell.release()
        body = trials.wait_ended()
    assert outcome(body) == ("True", "Completed")
    assert sorted(own_bell.begun.values()) == [1, 1, 1]


def test_an_environment_waits_for_a_quota_of_pods(trials: Trials) -> None:
    """Its Job comes before any trial's."""
    made = project(trials.name, {"score": "float"}, SCORE, "python", python_env="python_env.yaml")
    made["data"]["python_env.yaml"] = "dependencies:\n  - humanize==4.10.0\n"
    with quota(trials.kubectl, {"pods": "0"}):
        trials.apply(made, trials.experiment(parameters={"score": "1"}, environment="Project"))
        words = "does not get on: its pod cannot be made: forbidden: exceeded quota: small"
        trials.wait(lambda status: words in status["conditions"][0]["message"], SAID_SECONDS)
        assert trials.jobs() == []
    assert outcome(trials.wait_ended(ENVIRONMENT_SECONDS)) == ("True", "Completed")


def test_a_suspended_experiment_starts_no_trial_until_it_is_resumed(trials: Trials, own_bell: Bell) -> None:
    trials.apply(
        waiting_project(trials.name, own_bell),
        trials.experiment(sweep=sweep_of("1", "2", "3", parallelism=1)),
    )
    own_bell.wait_begun(1)
    trials.edit(suspend=True)
    trials.wait(lambda status: "spec.suspend holds the others back" in status["conditions"][0]["message"], SAID_SECONDS)
    own_bell.release()
    trials.wait_reason("Suspended")
    assert trials.status()["runs"]["succeeded"] == 1
    assert len(own_bell.begun) == 1
    trials.edit(suspend=False)
    assert outcome(trials.wait_ended()) == ("True", "Completed")
    assert len(own_bell.begun) == 3


def test_a_queue_admits_the_trials(trials: Trials, own_bell: Bell) -> None:
    own_bell.release()
    template = {"queue": "team-a", "resources": {"requests": {"cpu": "50m", "memory": "48Mi"}}}
    spec = {"parameters": {"score": "1"}, "template": template}
    trials.apply(waiting_project(trials.name, own_bell), trials.experiment(**spec))
    wait_until("the trial has its Job", lambda: len(trials.jobs()) == 1, 240)
    (job,) = trials.jobs()
    assert job["metadata"]["labels"][QUEUE_LABEL] == "team-a"
    assert job["spec"]["suspend"] is True
    body = trials.wait(lambda status: "until its queue admits it" in status["conditions"][0]["message"], SAID_SECONDS)
    assert body["status"]["runs"]["pending"] == 1
    assert own_bell.begun == {}
    # As Kueue does.
    trials.kubectl.patch("job", job["metadata"]["name"], {"spec": {"suspend": False}})
    assert outcome(trials.wait_ended()) == ("True", "Completed")
    assert list(own_bell.begun.values()) == [1]


def test_a_trial_over_its_time_limit_is_stopped_and_says_so(trials: Trials, own_bell: Bell) -> None:
    template = {"timeLimit": "8s", "resources": {"requests": {"cpu": "50m", "memory": "48Mi"}}}
    trials.apply(
        waiting_project(trials.name, own_bell),
        trials.experiment(parameters={"score": "1"}, template=template),
    )
    body = trials.wait_ended()
    assert outcome(body) == ("False", "TrialsFailed")
    (failure,) = body["status"]["failures"]
    assert "8s" in failure["message"], failure
    (each,) = trials.runs()
    assert each.info.status == "FAILED"


def test_an_annotation_runs_it_once_more_and_a_changed_spec_too(trials: Trials) -> None:
    trials.apply(quick(trials.name), trials.experiment(parameters={"score": "1"}))
    first = trials.wait_ended()["status"]
    assert first["trigger"]["kind"] == "Spec"
    trials.run_again("monday")
    second = trials.wait_ended(after=first["execution"])["status"]
    assert second["trigger"] == {"kind": "Annotation", "value": "monday"}
    trials.edit(parameters={"score": "2"})
    third = trials.wait_ended(after=second["execution"])["status"]
    assert [each["id"] for each in third["executions"]][:2] == [second["execution"], first["execution"]]

    scores = {each.data.tags["modelyard.dev/execution"]: each.data.params["score"] for each in trials.runs()}
    assert scores == {first["execution"]: "1", second["execution"]: "1", third["execution"]: "2"}
    assert {each.info.status for each in trials.runs()} == {"FINISHED"}
    assert third["bestRun"]["parameters"]["score"] == "2"


def test_what_is_edited_without_effect_on_what_runs_starts_nothing(trials: Trials) -> None:
    trials.apply(quick(trials.name), trials.experiment(parameters={"score": "1"}))
    first = trials.wait_ended()["status"]["execution"]
    trials.edit(retention={"maxRuns": 10})
    assert trials.wait_ended()["status"]["execution"] == first
    assert len(trials.runs()) == 1


def test_retention_deletes_old_runs_but_never_that_of_a_registered_version(trials: Trials) -> None:
    register = {"model": trials.name, "when": [{"metric": "score", "min": "3"}]}
    retention = {"maxRuns": 1, "keepBest": 0}
    spec = {"parameters": {"score": "3"}, "register": register, "retention": retention}
    trials.apply(quick(trials.name), trials.experiment(**spec))
    first = trials.wait_ended()["status"]
    assert first["registered"]["version"] == 1
    ended = first
    executions = [first["execution"]]
    for score in ("1", "2"):
        trials.edit(parameters={"score": score})
        body = trials.wait_ended(after=ended["execution"])
        assert outcome(body)[1] == "NotGoodEnough"
        ended = body["status"]
        executions.append(ended["execution"])
    told = trials.wait(lambda status: status.get("cleanUp", {}).get("runs") == 1)["status"]["cleanUp"]
    assert told["message"]
    kept = {each.data.tags["modelyard.dev/execution"] for each in trials.runs()}
    assert kept == {executions[0], executions[2]}
    (registered,) = (each for each in trials.runs() if each.info.run_id == first["registered"]["runId"])
    assert any(each.path == "model" for each in trials.mlflow.list_artifacts(registered.info.run_id))


def test_a_schedule_runs_it_at_its_time(scheduled: Trials) -> None:
    body = scheduled.wait(lambda status: bool(status.get("executions")) or status.get("finishedAt") is not None, 300)
    status = body["status"]
    assert status["trigger"]["kind"] == "Schedule"
    # At a full minute, to the second.
    assert status["trigger"]["value"].endswith(":00Z")
    assert status["nextScheduleAt"] > status["trigger"]["value"]
    scheduled.edit(suspend=True)
    # Another may have begun by now, whose run was made and whose parameters are not yet.
    ended = [each for each in scheduled.runs() if each.info.status == "FINISHED"]
    assert {each.data.params["score"] for each in ended} == {"1"}
