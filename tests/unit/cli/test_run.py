"""`run`, `suspend` and `resume`: what they write, what they say, and how a wait ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.api.names import KUBECTL_FIELD_MANAGER, RUN_ANNOTATION
from modelyard.cli.errors import REFUSED
from modelyard.cli.output import Format
from modelyard.cli.run import resume, run, suspend
from tests.unit.cli.experiments import RUNNING, SPEC, Json, Lab, ago, condition

ONCE: dict[str, Any] = {"wait": False, "timeout": None}
WAIT: dict[str, Any] = {**ONCE, "wait": True}
VALUE = "2026-05-01T12:00:00.000000Z"
OURS = {"kind": "Annotation", "value": VALUE}
ENDED: Json = {**RUNNING, "finishedAt": ago(60), "conditions": condition("True", "Completed", "8 trials succeeded")}
AGAIN: Json = {**ENDED, "execution": "0badcafe", "trigger": OURS}


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say what happens while a command sleeps, one after the other."""

    def arrange(*events: Callable[[], None]) -> None:
        coming = list(events)
        monkeypatch.setattr("modelyard.cli.runs.time.sleep", lambda _: coming.pop(0)())

    return arrange


def test_a_run_is_asked_for_by_an_annotation(lab: Lab) -> None:
    lab.create(ENDED)
    assert lab.run(run, **ONCE) == 0
    assert lab.experiment().metadata.annotations == {RUN_ANNOTATION: VALUE}
    assert lab.text == (
        "churn runs once more, now: its sweep of at most 8 trials, 2 at a time, of the commit that main names by then\n"
    )
    assert lab.notes == ["follow it with: kubectl modelyard runs churn --watch"]
    managers = [entry["manager"] for entry in lab.experiment().metadata.managed_fields]
    assert KUBECTL_FIELD_MANAGER in managers


def test_what_runs_is_not_cut_short(lab: Lab) -> None:
    lab.create(RUNNING, {"project": {"configMap": {"name": "files"}}, "entryPoint": "train"})
    assert lab.run(run, **ONCE) == 0
    assert lab.text == "churn runs once more, when execution 3f1c2ab9 has ended: its entry point train\n"


def test_a_suspended_experiment_says_when_it_will_run(lab: Lab) -> None:
    lab.create(ENDED, {**SPEC, "suspend": True})
    assert lab.run(run, **ONCE) == 0
    assert lab.notes[0] == "churn is suspended, so no trial starts until: kubectl modelyard resume churn"


def test_a_program_learns_which_value_was_set(lab: Lab) -> None:
    lab.create(ENDED)
    answer = lab.json(run, **ONCE)
    assert (answer["name"], answer["namespace"], answer["run"]) == ("churn", "ml", VALUE)


def test_without_a_project_there_is_nothing_to_run(lab: Lab) -> None:
    lab.create(None, {"experimentName": "churn"})
    message = lab.refused(run, **ONCE)
    assert message.startswith("churn has no spec.project: it follows the runs that others log")
    assert "Give it a project" in message
    assert lab.experiment().metadata.annotations == {}


def test_an_annotation_that_git_owns_is_git_s(lab: Lab) -> None:
    lab.create(ENDED, None, "churn", "argocd-controller", annotations={RUN_ANNOTATION: "1"})
    message = lab.refused(run, **ONCE)
    assert message == f"the annotation {RUN_ANNOTATION} of churn is managed by argocd-controller: set it there"


def test_a_wait_passes_over_what_ended_before(lab: Lab, then: Callable[..., None]) -> None:
    lab.create(ENDED)
    running = {**RUNNING, "execution": "0badcafe", "trigger": OURS}
    then(lambda: None, lambda: lab.set_status(running), lambda: lab.set_status(AGAIN))
    assert lab.run(run, **WAIT) == 0
    assert lab.text.splitlines()[1].startswith("churn   Succeeded in")
    assert "execution     0badcafe, begun by request 2026-05-01T12:00:00.000000Z" in lab.text


@pytest.mark.parametrize("form", [Format.TABLE, Format.JSON])
def test_a_wait_ends_with_1_where_the_execution_fails(lab: Lab, then: Callable[..., None], form: Format) -> None:
    lab.create(ENDED)
    then(lambda: lab.set_status({**AGAIN, "conditions": condition("False", "TrialsFailed", "1 of 1 trials failed")}))
    assert lab.run(run, form, **WAIT) == REFUSED
    if form is Format.JSON:
        assert [json.loads(line)["state"] for line in lab.text.splitlines()] == ["Succeeded", "Failed"]


def test_a_wait_has_an_end(lab: Lab) -> None:
    lab.create(ENDED)
    assert lab.run(run, **{**WAIT, "timeout": 0.0}) == REFUSED
    assert lab.notes[-1] == "error: churn has not ended after 0 s; it goes on without this command"


def test_a_project_that_cannot_be_read_any_more_ends_the_wait(
    lab: Lab, then: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator says so before it fixes anything of the new execution."""
    lab.create(ENDED)
    broken = {**ENDED, "finishedAt": None, "conditions": condition("False", "ProjectNotFound", "no branch main")}
    then(lambda: lab.set_status(broken))
    monkeypatch.setattr("modelyard.cli.run._STALE_SECONDS", 0.0)
    assert lab.run(run, **WAIT) == REFUSED
    assert "state         ProjectNotFound: no branch main" in lab.text


def test_suspend_and_resume(lab: Lab) -> None:
    lab.create(RUNNING)
    assert lab.run(suspend) == 0
    assert lab.experiment().spec.suspend
    assert lab.text == "churn is suspended: no trial is started; the one that runs goes on\n"
    assert lab.notes == ["go on with: kubectl modelyard resume churn"]
    assert lab.run(suspend) == 0
    assert lab.text == "churn is suspended already\n"
    assert lab.run(resume) == 0
    assert not lab.experiment().spec.suspend
    assert lab.text == "churn starts trials again\n"
    assert lab.notes == ["follow it with: kubectl modelyard runs churn --watch"]


def test_resuming_what_is_not_suspended_changes_nothing(lab: Lab) -> None:
    lab.create(ENDED)
    before = lab.client.writes
    assert lab.run(resume) == 0
    assert lab.text == "churn is not suspended: it is Succeeded: 8 trials succeeded\n"
    assert lab.client.writes == before


def test_suspension_that_git_owns_is_git_s(lab: Lab) -> None:
    lab.create(RUNNING, {**SPEC, "suspend": True}, "churn", "argocd-controller")
    assert lab.refused(resume) == "spec.suspend of churn is managed by argocd-controller: change it there"


def test_a_program_learns_what_is(lab: Lab) -> None:
    lab.create(RUNNING)
    assert lab.json(suspend)["suspend"] is True
    assert lab.json(resume, experiment="exp/churn")["suspend"] is False
