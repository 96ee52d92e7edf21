"""The command lines: which command they mean, and what makes no sense."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from modelyard.cli import __main__ as program
from modelyard.cli.errors import REFUSED, USAGE
from modelyard.cluster.user import Connection
from tests.unit.cli.deployments import NAMESPACE, Site, deployed, rollout

HELD = {
    "phase": "Held",
    "served": deployed(4, 600),
    "candidate": deployed(5, 60),
    "rollout": rollout(5, phase="Held", step=1, steps=2, weight=10),
}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site()
    monkeypatch.setattr(program, "connect", lambda *_: Connection(made.client, NAMESPACE))
    return made


@pytest.mark.parametrize(
    ("line", "annotations"),
    [
        ("promote churn", {"modelyard.dev/promote": "5/1"}),
        ("promote churn --full", {"modelyard.dev/promote": "5"}),
        ("promote md/churn", {"modelyard.dev/promote": "5/1"}),
        ("promote --full -n ml churn -o json", {"modelyard.dev/promote": "5"}),
        ("abort churn", {"modelyard.dev/abort": "5"}),
        ("pause churn", {"modelyard.dev/paused": "true"}),
        ("resume churn", {}),
        ("status churn", {}),
    ],
)
def test_commands_of_a_deployment(site: Site, line: str, annotations: dict[str, str]) -> None:
    site.create(HELD)
    assert program.main(line.split()) == 0
    assert site.annotations == annotations


def test_with_a_version_promote_is_about_a_model(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.create(HELD)
    assert program.main(["promote", "churn", "5"]) == REFUSED
    assert "there is no registered model 'churn' in namespace ml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("promote m 5", "production"),
        ("promote m 5 --stage staging", "staging"),
        ("promote m -n team 5", "production"),
        ("promote -n team m 5", "production"),
        ("promote m --stage staging 5 --timeout 300", "staging"),
    ],
)
def test_production_is_the_stage_that_is_meant(
    site: Site, monkeypatch: pytest.MonkeyPatch, line: str, stage: str
) -> None:
    asked: list[Namespace] = []

    def promote(_models: Any, _output: Any, arguments: Namespace, _managers: Any) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(program, "promote", promote)
    assert program.main(line.split()) == 0
    assert [(each.model, each.version, each.stage, each.timeout) for each in asked] == [("m", 5, stage, 300.0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("promote churn 5 --full", "--full belongs to a ModelDeployment whose rollout is under way"),
        ("promote churn --stage staging", "--stage and --no-wait belong to a VERSION"),
        ("promote churn --no-wait", "--stage and --no-wait belong to a VERSION"),
    ],
)
def test_what_does_not_go_together_is_said(
    site: Site, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    site.create(HELD)
    assert program.main(line.split()) == USAGE
    assert message in capsys.readouterr().err
    assert site.annotations == {}


@pytest.mark.parametrize(
    "line",
    [
        "promote churn zero",
        "promote churn 1 2",
        "promote",
        "rollback churn --to 0",
        "status",
        "status churn --timeout soon",
        "retry churn",
    ],
)
def test_a_command_line_that_makes_no_sense(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(line.split())
    assert ended.value.code == USAGE
    assert "usage:" in capsys.readouterr().err


def test_git_s_hands_are_those_that_the_environment_names(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.create(HELD, annotations={"modelyard.dev/paused": "true"}, manager="our-sync")
    monkeypatch.setenv("MODELYARD_GIT_MANAGERS", "our-sync")
    assert program.main(["resume", "churn"]) == REFUSED
    assert "modelyard.dev/paused of churn is managed by our-sync: resume it there" in capsys.readouterr().err


def test_ctrl_c_ends_a_watch(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    site.create(HELD)
    monkeypatch.setattr("modelyard.cli.status.time.sleep", interrupt)
    assert program.main(["status", "churn", "--watch"]) == 130
