"""The demo, as `make demo` runs it: the main job from nothing to a version replaced under load."""

from __future__ import annotations

import pytest

from examples.demo.__main__ import run
from examples.demo.steps import DEPLOYMENT, EXPERIMENT, MODEL, REQUEST, Demo


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("time", ["first", "second"])
def test_the_demo_ends_as_promised_also_when_it_is_run_again(installation: Demo, time: str) -> None:
    run(installation)
    kubectl = installation.kubectl
    experiment = kubectl.get("experiment", EXPERIMENT)
    model = kubectl.get("registeredmodel", MODEL)
    assert experiment is not None
    assert model is not None
    assert experiment["status"]["runs"]["succeeded"] == 3
    assert {entry["name"] for entry in experiment["status"]["leaderboard"]} == {
        "rf-baseline",
        "rf-tuned",
        "gb-baseline",
    }
    production = model["status"]["stages"]["production"]["version"]
    answer = installation.endpoint.ask(REQUEST)
    assert (answer.status, answer.version) == (200, str(production))
    assert answer.predictions in ([0], [1])


def test_a_version_that_was_replaced_is_archived(installation: Demo) -> None:
    model = installation.kubectl.get("registeredmodel", MODEL)
    assert model is not None
    production = model["status"]["stages"]["production"]["version"]
    stages = {version["version"]: version["stage"] for version in model["status"]["versions"]}
    assert stages[production] == "Production"
    replaced = [each for each in model["status"]["transitions"] if each["to"] == "Archived"]
    assert replaced
    assert {each["by"] for each in replaced} <= {"kubectl-patch", "kubectl", "mlflow"}


def test_only_the_served_version_is_left_running(installation: Demo) -> None:
    found = installation.kubectl("get", "deployments", "-l", f"modelyard.dev/deployment={DEPLOYMENT}", "-o", "name")
    assert len(found.split()) == 1
