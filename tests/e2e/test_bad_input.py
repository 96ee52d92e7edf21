"""Bad input: a documented reason within seconds, and what is served stays served."""

from __future__ import annotations

from typing import Any

import pytest

from examples.demo.kubectl import condition
from tests.e2e.scenario import MLPROJECT, REQUEST, Scenario
from tests.e2e.store import ArtifactAccess

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def served(scenario: Scenario) -> Scenario:
    """Version 1 (answer 2.0) is in Production and answers; version 2 (answer 3.0) is registered."""
    scenario.apply(scenario.project(), scenario.experiment(), scenario.deployment())
    scenario.wait_trained()
    scenario.promote(1)
    scenario.wait_served(1)
    scenario.apply(scenario.experiment(sweep={"parameters": {"answer": {"values": ["3.0"]}}}))
    scenario.wait("experiment", lambda body: body["status"].get("registered", {}).get("version") == 2)
    return scenario


def assert_still_answers(scenario: Scenario, version: int, answer: float) -> None:
    got = scenario.endpoint.ask(REQUEST)
    assert (got.status, got.version, got.predictions) == (200, str(version), [answer])


def test_refused_promotions_leave_what_is_served(served: Scenario, artifacts: ArtifactAccess) -> None:
    served.promote(9)
    body = served.wait_reason("registeredmodel", "VersionNotFound")
    assert "spec.stages.production" in condition(body, "Ready")["message"]
    assert body["status"]["stages"]["production"]["version"] == 1

    version = next(each for each in body["status"]["versions"] if each["version"] == 2)
    with artifacts.changed(version["artifact"], "MLmodel"):
        served.promote(2)
        body = served.wait_reason("registeredmodel", "DigestMismatch")
        assert body["status"]["stages"]["production"]["version"] == 1
        served.promote(1)
        served.wait_reason("registeredmodel", "AsWanted")
    with artifacts.removed(version["artifact"], "MLmodel"):
        served.promote(2)
        body = served.wait_reason("registeredmodel", "ArtifactMissing")
        assert body["status"]["stages"]["production"]["version"] == 1
    assert_still_answers(served, 1, 2.0)

    # The files are back: the same wish is fulfilled without another edit.
    served.wait_reason("registeredmodel", "AsWanted", seconds=120)
    served.wait_served(2)


def test_a_candidate_that_cannot_start_gets_no_request(served: Scenario) -> None:
    served.apply(served.deployment(resources={"requests": {"memory": "900Gi"}}))
    served.wait("modeldeployment", lambda body: condition(body, "Ready")["status"] == "False")
    served.promote(2)
    body = served.wait_reason("modeldeployment", "Unschedulable")
    assert body["status"]["served"]["version"] == 1
    assert condition(body, "Serving")["status"] == "True"
    assert_still_answers(served, 1, 2.0)
    served.apply(served.deployment())
    served.wait_served(2)


def test_a_deployment_of_a_missing_model_says_so(scenario: Scenario) -> None:
    scenario.apply(scenario.deployment())
    body = scenario.wait_reason("modeldeployment", "ModelNotFound")
    assert f"there is no RegisteredModel {scenario.name}" in condition(body, "Ready")["message"]


@pytest.mark.parametrize(
    ("changes", "mlproject", "reason", "says"),
    [
        pytest.param({"entryPoint": "tune"}, MLPROJECT, "EntryPointNotFound", "tune", id="unknown entry point"),
        pytest.param(
            {"sweep": None, "parameters": {"answer": "many"}},
            MLPROJECT,
            "ParameterInvalid",
            "answer",
            id="a parameter of the wrong type",
        ),
        pytest.param({"sweep": None}, MLPROJECT, "ParameterInvalid", "answer", id="a missing parameter"),
        pytest.param({}, "entry_points: [", "ProjectInvalid", "MLproject", id="an MLproject that is no YAML"),
        pytest.param(
            {"project": {"configMap": {"name": "no-such-project"}}},
            MLPROJECT,
            "ProjectNotFound",
            "no-such-project",
            id="no project",
        ),
    ],
)
def test_an_experiment_that_cannot_run_makes_no_job(
    scenario: Scenario, changes: dict[str, Any], mlproject: str, reason: str, says: str
) -> None:
    scenario.apply(scenario.project(mlproject=mlproject), scenario.experiment(**changes))
    body = scenario.wait_reason("experiment", reason, type_="Succeeded")
    assert says in condition(body, "Succeeded")["message"]
    assert scenario.kubectl("get", "jobs", "-l", f"modelyard.dev/experiment={scenario.name}", "-o", "name") == ""


def test_one_failed_trial_too_many_is_named_with_its_reason_and_registers_nothing(scenario: Scenario) -> None:
    sweep = {"parameters": {"fail": {"values": ["0", "1"]}}, "parallelism": 2, "maxFailedTrials": 0}
    scenario.apply(scenario.project(), scenario.experiment(sweep=sweep, parameters={"answer": "1.0"}))
    body = scenario.wait_trained()
    assert condition(body, "Succeeded")["reason"] == "TrialsFailed"
    assert (body["status"]["runs"]["succeeded"], body["status"]["runs"]["failed"]) == (1, 1)
    assert len(body["status"]["failures"]) == 1
    assert "registered" not in body["status"]
    assert scenario.kubectl.get("registeredmodel", scenario.name) is None
