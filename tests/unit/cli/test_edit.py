"""`promote` and `approve` on a registry in memory."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.api.gates import GateResult, GateVerdict
from modelyard.api.model_status import CandidateStatus, Verdict
from modelyard.cli.edit import APPROVALS, approve, promote
from modelyard.cli.errors import REFUSED, CliError
from modelyard.cli.model import Models
from modelyard.cli.output import Output
from modelyard.decide.managers import owner_of
from modelyard.registry.edits import OwnedByGit
from tests.unit.cli.conftest import Terminal
from tests.unit.registry.world import NAMESPACE, World

ASK: dict[str, Any] = {"version": 3, "stage": "production", "no_wait": False, "timeout": 30.0}
APPROVE: dict[str, Any] = {"version": 3, "stage": "production", "group": None, "comment": None}


def promoting(*managers: str) -> Callable[[Models, Output, Namespace], int]:
    return lambda models, output, arguments: promote(models, output, arguments, managers)


@pytest.fixture
def waking(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The operator reconciles while a command waits."""

    def sleep(_: float) -> None:
        terminal.world.clock.forward(1)
        terminal.world.reconcile()

    monkeypatch.setattr("modelyard.cli.edit.time.sleep", sleep)
    return terminal


def judge(world: World, verdict: Verdict, *gates: GateResult) -> None:
    """Have the status say what a judge says of version 3."""
    shown = CandidateStatus(
        stage="production", version=3, verdict=verdict, since="2026-05-01T00:00:00.000Z", gates=gates
    )
    world.registry.update_status(
        NAMESPACE,
        "churn",
        lambda model: model.status.model_copy(
            update={"candidates": (shown,), "observed_generation": model.metadata.generation}
        ),
    )


def test_a_promotion_is_an_edit_of_the_spec_in_the_commands_name(waking: Terminal) -> None:
    assert waking.run(promoting(), **ASK) == 0
    assert waking.lines == ["version 3 of churn is in Production"]
    model = waking.world.model()
    assert model.spec.stages == {"production": 3}
    assert owner_of(model.metadata.managed_fields, ("spec", "stages", "production")) == "kubectl-modelyard"
    assert waking.world.stages() == {"production": 3}
    assert "waiting for the operator to see version 3 of churn in the spec" in waking.err.getvalue()


def test_a_version_that_is_there_already_needs_no_edit(waking: Terminal) -> None:
    waking.world.client.requests.clear()
    assert waking.run(promoting(), **{**ASK, "version": 2}) == 0
    assert waking.world.client.writes == []


def test_a_field_that_git_owns_is_gits(waking: Terminal) -> None:
    with pytest.raises(OwnedByGit, match="production of churn is managed by argocd-controller: change it there"):
        waking.run(promoting("argocd-controller"), **ASK)
    assert waking.world.model().spec.stages["production"] == 2


def test_nobody_has_to_wait(terminal: Terminal) -> None:
    assert terminal.run(promoting(), **{**ASK, "no_wait": True}) == 0
    assert terminal.lines == ["spec.stages.production of churn is 3"]
    assert terminal.world.stages()["production"] == 2


def test_a_version_that_there_is_not_is_not_asked_for(terminal: Terminal) -> None:
    with pytest.raises(CliError, match="churn has no version 9: the latest is 3"):
        terminal.run(promoting(), **{**ASK, "version": 9})
    assert terminal.world.model().spec.stages["production"] == 2


def test_a_refusal_shows_the_gates_with_their_numbers(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    gates = (
        GateResult(name="quality", verdict=GateVerdict.FAILED, message="f1_score 0.71, at least 0.85"),
        GateResult(name="was-staged", verdict=GateVerdict.PASSED, message="in Staging since January"),
    )
    monkeypatch.setattr("modelyard.cli.edit.time.sleep", lambda _: judge(terminal.world, Verdict.REFUSED, *gates))
    assert terminal.run(promoting(), **ASK) == REFUSED
    assert [" ".join(line.split()) for line in terminal.lines] == [
        "version 3 of churn is refused in Production",
        "VERDICT GATE FOUND",
        "Failed quality f1_score 0.71, at least 0.85",
        "Passed was-staged in Staging since January",
    ]


def test_a_wait_for_a_person_ends_with_how_to_approve(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    consent = GateResult(name="consent", verdict=GateVerdict.WAITING, message="nobody of risk-team has approved")
    monkeypatch.setattr("modelyard.cli.edit.time.sleep", lambda _: judge(terminal.world, Verdict.WAITING, consent))
    assert terminal.run(promoting(), **{**ASK, "timeout": 0.2}) == REFUSED
    assert "0 of 1 gates passed; waiting for approval: consent (after 0.2 s)" in terminal.lines[0]
    assert "kubectl modelyard approve churn 3 --stage production" in terminal.err.getvalue()


@pytest.fixture
def approvers(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Production needs the risk team; the user is Maria of that team."""
    terminal.world.edit({"gates": {"production": [{"name": "consent", "approvers": ["risk-team", "board"]}]}})
    who = {"username": "maria", "groups": ["system:authenticated", "risk-team"]}
    monkeypatch.setattr(terminal.world.client, "user_info", lambda: who, raising=False)
    return terminal


def test_an_approval_names_the_user_the_group_and_the_bytes(approvers: Terminal) -> None:
    assert approvers.run(approve, **{**APPROVE, "comment": "seen the report"}) == 0
    (made,) = approvers.world.client.list_all(APPROVALS, NAMESPACE)
    assert made["spec"] == {
        "model": "churn",
        "version": 3,
        "digest": approvers.world.state().versions[3].digest,
        "stage": "production",
        "group": "risk-team",
        "user": "maria",
        "comment": "seen the report",
    }
    assert made["metadata"]["name"].startswith("churn-3-production-")
    assert "maria (risk-team) approves version 3 of churn for Production" in approvers.lines[0]


def test_a_group_may_be_named(approvers: Terminal) -> None:
    assert approvers.run(approve, **{**APPROVE, "group": "board"}) == 0
    (made,) = approvers.world.client.list_all(APPROVALS, NAMESPACE)
    assert made["spec"]["group"] == "board"


@pytest.mark.parametrize(
    ("given", "groups", "message"),
    [
        ({}, ["developers"], "production of churn is approved by risk-team, board, and maria is in none of them"),
        ({}, ["risk-team", "board"], "maria is in several groups that may approve: say --group risk-team or"),
        ({"stage": "staging"}, ["risk-team"], "staging of churn has no gate with approvers"),
        ({"version": 9}, ["risk-team"], "churn has no version 9"),
    ],
)
def test_what_cannot_be_approved(
    approvers: Terminal, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], groups: list[str], message: str
) -> None:
    who = {"username": "maria", "groups": groups}
    monkeypatch.setattr(approvers.world.client, "user_info", lambda: who, raising=False)
    with pytest.raises(CliError, match=message):
        approvers.run(approve, **{**APPROVE, **given})
    assert approvers.world.client.list_all(APPROVALS, NAMESPACE) == []
