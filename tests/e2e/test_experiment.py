"""Experiments on the cluster: Jobs, runs, git, and what is said when a trial fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from examples.demo.kubectl import condition
from examples.demo.steps import Demo
from tests.e2e.bell import address
from tests.e2e.scenario import MLPROJECT, TRAIN, Scenario
from tests.unit.sources.gitserver import Repository, over_http

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def mlflow(installation: Demo) -> MlflowClient:
    return MlflowClient(installation.tracking_uri)


def outcome(body: Json) -> tuple[str, str]:
    succeeded = condition(body, "Succeeded")
    return succeeded["status"], succeeded["reason"]


def runs_of(mlflow: MlflowClient, body: Json) -> tuple[Run, dict[str, Run]]:
    """Return the parent, and the children by name."""
    runs = mlflow.search_runs([body["status"]["experimentId"]])
    (parent,) = (each for each in runs if "mlflow.parentRunId" not in each.data.tags)
    return parent, {each.info.run_name: each for each in runs if each is not parent}


def test_a_sweep_is_one_parent_and_a_child_a_trial(scenario: Scenario, mlflow: MlflowClient) -> None:
    sweep = {"parameters": {"answer": {"values": ["1.0", "3.0", "2.0"]}}, "parallelism": 3}
    scenario.apply(scenario.project(), scenario.experiment(sweep=sweep, tags={"team": "churn"}))
    body = scenario.wait_trained()
    status = body["status"]
    assert outcome(body) == ("True", "Completed")
    assert [(entry["name"], entry["value"]) for entry in status["leaderboard"]] == [
        ("3.0", "3"),
        ("2.0", "2"),
        ("1.0", "1"),
    ]

    parent, children = runs_of(mlflow, body)
    assert parent.info.run_id == status["parentRunId"]
    assert parent.info.run_name == f"{scenario.name}-{status['execution']}"
    assert sorted(children) == ["1.0", "2.0", "3.0"]
    for name, child in children.items():
        assert child.info.status == "FINISHED"
        assert child.data.metrics == {"score": float(name)}
        assert child.data.params == {"answer": name, "fail": "0"}
        expected = {
            "mlflow.parentRunId": parent.info.run_id,
            "mlflow.project.entryPoint": "train",
            "mlflow.source.type": "PROJECT",
            "mlflow.source.name": f"configmap:{scenario.name}",
            "team": "churn",
        }
        assert expected.items() <= child.data.tags.items()

    assert status["registered"] == {"model": scenario.name, "version": 1, "runId": children["3.0"].info.run_id}
    model = scenario.kubectl.get("registeredmodel", scenario.name)
    assert model is not None
    (version,) = model["status"]["versions"]
    assert version["runId"] == children["3.0"].info.run_id
    assert version["flavors"] == ["python_function", "sklearn"]


def test_an_edited_file_starts_a_new_execution(scenario: Scenario, mlflow: MlflowClient) -> None:
    spec = {"sweep": None, "register": None, "parameters": {"answer": "1.0"}}
    scenario.apply(scenario.project(), scenario.experiment(**spec))
    first = scenario.wait_trained()["status"]["execution"]
    scenario.apply(scenario.project(TRAIN.replace("arguments.answer)", "arguments.answer * 10)")))
    body = scenario.wait(
        "experiment",
        lambda body: body["status"]["execution"] != first and condition(body, "Succeeded")["status"] == "True",
    )
    assert body["status"]["leaderboard"][0]["value"] == "10"
    jobs = scenario.trial_jobs()
    assert jobs == [f"job.batch/{scenario.name}-{body['status']['execution']}-0"]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[Repository, str]]:
    """A repository that pods can fetch from, with its URL there."""
    made = Repository(tmp_path / "repository")
    with over_http(made, "0.0.0.0") as url:
        yield made, url.replace("0.0.0.0", address())


def test_a_branch_is_resolved_once_and_its_commit_is_what_runs(
    scenario: Scenario, mlflow: MlflowClient, repository: tuple[Repository, str]
) -> None:
    made, url = repository
    commit = made.commit({"ml/MLproject": MLPROJECT, "ml/train.py": TRAIN})
    sweep = {"parameters": {"answer": {"values": ["1.0", "2.0"]}}, "parallelism": 1}
    git = {"url": url, "revision": "main", "path": "ml"}
    scenario.apply(scenario.experiment(project={"git": git}, sweep=sweep))
    scenario.wait("experiment", lambda body: body["status"].get("runs", {}).get("running") == 1)
    # What comes to the branch meanwhile is not for this execution.
    made.commit({"ml/train.py": "raise SystemExit('the branch has moved')"})
    body = scenario.wait_trained()
    assert outcome(body) == ("True", "Completed")
    assert body["status"]["commit"] == commit
    _, children = runs_of(mlflow, body)
    assert sorted(children) == ["1.0", "2.0"]
    for child in children.values():
        assert child.data.tags["mlflow.source.git.commit"] == commit
        assert child.data.tags["mlflow.source.git.repoURL"] == url
        assert child.data.tags["mlflow.source.name"] == f"{url}#ml"


def test_a_revision_that_is_not_there_says_so(scenario: Scenario, repository: tuple[Repository, str]) -> None:
    made, url = repository
    made.commit({"MLproject": MLPROJECT})
    scenario.apply(scenario.experiment(project={"git": {"url": url, "revision": "mian"}}))
    body = scenario.wait_reason("experiment", "ProjectNotFound", type_="Succeeded")
    assert "no branch or tag 'mian'" in condition(body, "Succeeded")["message"]


def test_a_trial_without_memory_is_named_and_its_run_is_ended(scenario: Scenario, mlflow: MlflowClient) -> None:
    template = {"resources": {"requests": {"memory": "48Mi"}, "limits": {"memory": "48Mi"}}}
    spec = {"sweep": None, "parameters": {"answer": "1.0"}, "template": template}
    scenario.apply(scenario.project(), scenario.experiment(**spec))
    body = scenario.wait_trained()
    assert outcome(body) == ("False", "TrialsFailed")
    (failure,) = body["status"]["failures"]
    assert failure["reason"] == "OOMKilled"
    assert mlflow.get_run(failure["runId"]).info.status == "FAILED"
    assert "registered" not in body["status"]


def test_a_changed_spec_stops_what_ran(scenario: Scenario, mlflow: MlflowClient) -> None:
    endless = "import time\ntime.sleep(3600)\n"
    spec = {"sweep": None, "register": None, "parameters": {"answer": "1.0"}}
    scenario.apply(scenario.project(endless), scenario.experiment(**spec))
    scenario.wait("experiment", lambda body: body["status"].get("runs", {}).get("running") == 1)
    (old,) = mlflow.search_runs([scenario.wait("experiment", lambda _: True)["status"]["experimentId"]])
    scenario.apply(scenario.experiment(**{**spec, "entryPoint": "missing"}))
    body = scenario.wait_reason("experiment", "EntryPointNotFound", type_="Succeeded")
    assert "['train']" in condition(body, "Succeeded")["message"]
    scenario.wait("experiment", lambda _: mlflow.get_run(old.info.run_id).info.status == "KILLED")
    # The verdict and the run's end are told first.
    scenario.wait("experiment", lambda _: not scenario.trial_jobs())
