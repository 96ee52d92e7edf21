"""The command lines of experiments: which command they mean, and what makes no sense."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.cli import __main__ as program
from modelyard.cli.deployments import MODEL_DEPLOYMENTS
from modelyard.cli.errors import REFUSED, USAGE
from modelyard.cluster.user import Connection
from modelyard.tracking.client import TrackingError
from tests.unit.cli.experiments import NAMESPACE, RUNNING, SPEC, Lab


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab()
    monkeypatch.setattr(program, "connect", lambda *_: Connection(made.client, NAMESPACE))
    monkeypatch.setattr(program, "find_tracking", lambda *_: made.experiments.reach())
    return made


def deployment(lab: Lab, *, paused: bool) -> None:
    annotations = {"modelyard.dev/paused": "true"} if paused else {}
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": NAMESPACE, "annotations": annotations},
        "spec": {"model": {"name": "churn", "stage": "Production"}, "rest": {}},
    }
    lab.client.create(MODEL_DEPLOYMENTS, NAMESPACE, body, "kubectl")


def is_paused(lab: Lab) -> bool:
    body = lab.client.get(MODEL_DEPLOYMENTS, NAMESPACE, "churn")
    return "modelyard.dev/paused" in ModelDeployment.parse(body).metadata.annotations


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("runs churn", "churn   Running for"),
        ("runs exp/churn --all -o wide", "RUN ID"),
        ("runs -n ml experiment/churn --once -o json", '"execution": "3f1c2ab9"'),
        ("runs churn --execution 3f1c2ab9", "churn   Running for"),
        ("run churn", "churn runs once more, when execution 3f1c2ab9 has ended"),
        ("suspend churn", "churn is suspended: no trial is started"),
        ("clean-up churn --dry-run --max-runs 3 --keep-best 2", "0 of 7 runs would be deleted"),
    ],
)
def test_commands_of_an_experiment(lab: Lab, capsys: pytest.CaptureFixture[str], line: str, said: str) -> None:
    lab.sweep()
    lab.tracking.runs.pop("a" * 32)
    assert program.main(line.split()) == 0
    assert said in capsys.readouterr().out


def test_reproduce_waits_unless_it_is_told_not_to(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Namespace] = []

    def reproduce(_experiments: Any, _output: Any, arguments: Namespace) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(program, "reproduce", reproduce)
    for line in ("churn/best", "--wait churn/best --tolerance 1e-6", "churn/best --no-wait --metric a --metric b"):
        assert program.main(["reproduce", *line.split()]) == 0
    assert [(each.run, each.wait, each.tolerance, each.metric) for each in asked] == [
        ("churn/best", True, 0.0, None),
        ("churn/best", True, 1e-6, None),
        ("churn/best", False, 0.0, ["a", "b"]),
    ]
    assert lab.client.writes == []


@pytest.mark.parametrize(
    ("line", "before", "code", "after"),
    [
        ("resume churn", (True, False), 0, (False, False)),
        ("resume churn", (False, True), 0, (False, False)),
        ("resume md/churn", (True, True), 0, (False, True)),
        ("resume exp/churn", (True, True), 0, (True, False)),
        ("resume churn", (True, True), REFUSED, (True, True)),
        ("resume churn", (False, False), REFUSED, (False, False)),
    ],
)
def test_resume_is_for_the_one_that_stands_still(
    lab: Lab, line: str, before: tuple[bool, bool], code: int, after: tuple[bool, bool]
) -> None:
    deployment(lab, paused=before[0])
    lab.create(RUNNING, {**SPEC, "suspend": before[1]})
    assert program.main(line.split()) == code
    assert (is_paused(lab), lab.experiment().spec.suspend) == after


def test_resume_asks_which_is_meant(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    deployment(lab, paused=True)
    lab.create(RUNNING, {**SPEC, "suspend": True})
    assert program.main(["resume", "churn"]) == REFUSED
    assert capsys.readouterr().err == (
        "error: there are a model deployment and an experiment 'churn': say md/churn or exp/churn\n"
    )


def test_resume_of_what_there_is_alone(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.create(RUNNING, {**SPEC, "suspend": True})
    assert program.main(["resume", "churn"]) == 0
    assert not lab.experiment().spec.suspend
    assert program.main(["resume", "exp/fraud"]) == REFUSED
    assert "there is no experiment 'exp/fraud'" in capsys.readouterr().err
    assert program.main(["resume", "fraud"]) == REFUSED
    assert "there is neither a model deployment nor an experiment 'fraud' in namespace ml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "runs",
        "run",
        "run churn --timeout soon",
        "reproduce",
        "reproduce churn/best --tolerance much",
        "reproduce churn/best --tolerance nan",
        "clean-up churn",
        "clean-up churn --dry-run --max-age 3",
        "clean-up churn --dry-run --max-runs -1",
    ],
)
def test_a_command_line_that_makes_no_sense(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(line.split())
    assert ended.value.code == USAGE
    assert "usage:" in capsys.readouterr().err


def test_what_the_tracking_server_refuses_is_an_error_of_one_line(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_method: str, _what: str) -> None:
        raise TrackingError("PERMISSION_DENIED", "the tracking server answers 403: no")

    lab.tracking._on_request = refuse
    assert program.main(["reproduce", "f" * 32]) == REFUSED
    assert capsys.readouterr().err == "error: the tracking server answers 403: no\n"
