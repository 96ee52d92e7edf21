"""`promote` without a version, `abort`, `pause`, `resume` and `refresh`: what they write, and when they do not."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.cli.deployments import MODEL_DEPLOYMENTS, Deployments
from modelyard.cli.errors import CliError
from modelyard.cli.steer import abort, go_on, pause, refresh, resume
from modelyard.decide.managers import owner_of
from tests.unit.cli.deployments import NAMESPACE, Command, Json, Site, deployed, refused, rollout

PROMOTE, ABORT = "modelyard.dev/promote", "modelyard.dev/abort"
PAUSED, REFRESH = "modelyard.dev/paused", "modelyard.dev/refresh"

SERVED: Json = {"phase": "Serving", "served": deployed(4, 600)}
ROLLING: Json = {**SERVED, "phase": "Progressing", "candidate": deployed(5, 60)}


def at(doing: str, step: int = 1, share: int = 10, **status: Any) -> Json:
    """A rollout that does this at a step."""
    return {**ROLLING, "rollout": rollout(5, phase=doing, step=step, steps=2, weight=share), **status}


HELD = at("Held", phase="Held")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize(
    ("status", "full", "value", "said"),
    [
        (HELD, False, "5/1", "version 5 of churn goes on from 10 %"),
        (at("Held", 0, 0), False, "5/0", "version 5 of churn goes on from before it gets requests"),
        # An analysis without a verdict holds, too.
        (at("Analysing", 2, 50, phase="Held"), False, "5/2", "version 5 of churn goes on from 50 %"),
        (at("Pausing", 2, 50), False, "5/2", "version 5 of churn goes on from 50 %"),
        (HELD, True, "5", "version 5 of churn goes to 100 % without further pauses and analysis"),
        (at("Shifting"), True, "5", "version 5 of churn goes to 100 % without further pauses and analysis"),
    ],
)
def test_a_held_rollout_goes_on(site: Site, status: Json, full: bool, value: str, said: str) -> None:
    site.create(status)
    assert site.run(go_on, full=full) == 0
    assert site.annotations == {PROMOTE: value}
    assert site.text == f"{said}\n"
    assert site.err.getvalue() == "follow it with: kubectl modelyard status churn --watch\n"
    fields = site.deployment.metadata.managed_fields
    assert owner_of(fields, ("metadata", "annotations", PROMOTE)) == "kubectl-modelyard"


def test_a_candidate_is_taken_back(site: Site) -> None:
    site.create(HELD)
    assert site.run(abort) == 0
    assert site.annotations == {ABORT: "5"}
    assert site.text == "version 5 of churn is taken back, version 4 gets all requests\n"


@pytest.mark.parametrize(
    ("command", "given", "before", "after"),
    [
        (abort, {}, {PROMOTE: "5/1"}, {ABORT: "5"}),
        (abort, {}, {PROMOTE: "3"}, {PROMOTE: "3", ABORT: "5"}),
        (go_on, {"full": True}, {ABORT: "5"}, {PROMOTE: "5"}),
        (go_on, {"full": False}, {PROMOTE: "5/0"}, {PROMOTE: "5/1"}),
    ],
)
def test_what_asks_for_the_opposite_is_taken_away(
    site: Site, command: Command, given: Json, before: dict[str, str], after: dict[str, str]
) -> None:
    site.create(HELD, annotations=before)
    assert site.run(command, **given) == 0
    assert site.annotations == after


def test_a_pause_and_its_end(site: Site) -> None:
    site.create(SERVED)
    assert site.run(pause) == 0
    assert site.annotations == {PAUSED: "true"}
    assert site.text == "churn is paused: the operator changes nothing of it\n"
    assert site.err.getvalue() == "go on with: kubectl modelyard resume churn\n"
    site.client.requests.clear()
    assert site.run(pause) == 0
    assert (site.text, site.client.writes) == ("churn is paused already\n", [])
    assert site.run(resume) == 0
    assert (site.text, site.annotations) == ("churn goes on\n", {})
    assert site.run(resume) == 0
    assert site.text == "churn is not paused\n"


def test_what_is_asked_of_a_paused_deployment_waits(site: Site) -> None:
    site.create(HELD, annotations={PAUSED: "true"})
    assert site.run(go_on, full=False) == 0
    assert "churn is paused, so nothing happens until: kubectl modelyard resume churn" in site.err.getvalue()


def test_pods_are_made_anew(site: Site) -> None:
    site.create(SERVED)
    assert site.run(refresh) == 0
    assert site.annotations == {REFRESH: "2026-05-01T12:00:00Z"}
    assert site.text == "the pods of churn are made anew, with the serving image and defaults of the operator\n"


def test_a_program_gets_what_was_set(site: Site) -> None:
    site.create(HELD)
    assert site.json(abort) == {
        "name": "churn",
        "namespace": NAMESPACE,
        "annotations": {ABORT: "5"},
        "message": "version 5 of churn is taken back, version 4 gets all requests",
    }


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (go_on, SERVED, "nothing of churn is rolling out: version 4 is served (kubectl modelyard status churn)"),
        (abort, {"phase": "Pending"}, "nothing of churn is rolling out: no version is served yet"),
        (
            abort,
            {**SERVED, "refused": refused(5, 60, "Aborted", "as asked")},
            "nothing of churn is rolling out: version 4 is served, version 5 was refused",
        ),
        (
            go_on,
            at("Shifting"),
            "the rollout of version 5 of churn is not held (10 %): it goes on by itself, or at once with: "
            "kubectl modelyard promote churn --full",
        ),
        (go_on, at("Starting", 0, 0), "is not held (before it gets requests)"),
        (
            abort,
            {**HELD, "served": None},
            "nothing of churn was served before version 5: there is nothing to go back to",
        ),
    ],
)
def test_what_makes_no_sense_now_is_not_written(site: Site, command: Command, status: Json, message: str) -> None:
    site.create(status)
    before = site.deployment
    with pytest.raises(CliError) as error:
        site.run(command, full=False)
    assert message in str(error.value)
    assert error.value.code == 1
    assert site.deployment == before


@pytest.mark.parametrize("command", [go_on, abort, pause, resume, refresh])
def test_there_has_to_be_a_deployment(site: Site, command: Command) -> None:
    with pytest.raises(CliError, match="there is no model deployment 'churn' in namespace ml"):
        site.run(command, full=False)


@pytest.mark.parametrize(
    ("command", "annotations", "message"),
    [
        (go_on, {PROMOTE: "4"}, f"the annotation {PROMOTE} of churn is managed by argocd-controller: promote it there"),
        (abort, {ABORT: "4"}, "abort it there, or git revert the promotion"),
        (abort, {PROMOTE: "5/0"}, f"the annotation {PROMOTE} of churn is managed by argocd-controller"),
        (pause, {PAUSED: "false"}, "is managed by argocd-controller: pause it there"),
        (resume, {PAUSED: "true"}, "is managed by argocd-controller: resume it there"),
        (refresh, {REFRESH: "1"}, "is managed by argocd-controller: refresh it there"),
    ],
)
def test_an_annotation_that_git_owns_is_gits(
    site: Site, command: Command, annotations: dict[str, str], message: str
) -> None:
    site.create(HELD, annotations=annotations, manager="argocd-controller")
    with pytest.raises(CliError) as error:
        site.run(command, full=False)
    assert message in str(error.value)
    assert site.annotations == annotations


def test_an_edit_is_of_the_object_that_was_looked_at(site: Site) -> None:
    site.create(HELD)
    raced: list[str] = []

    def race(method: str, path: str) -> None:
        if method == "PATCH" and not raced:
            raced.append(path)
            site.set_status(at("Held", 2, 50, phase="Held"))

    site.client._on_request = race
    assert site.run(go_on, full=False) == 0
    assert site.annotations == {PROMOTE: "5/2"}
    assert site.text == "version 5 of churn goes on from 50 %\n"


def test_who_never_gets_in_first_is_told(site: Site) -> None:
    site.create(HELD)
    times = iter(range(1000))

    def race(method: str, path: str) -> None:
        if method == "PATCH":
            status = at("Held", 1, 10, phase="Held", weight=next(times) % 100)
            site.set_status(status)

    site.client._on_request = race
    with pytest.raises(CliError, match="others changed churn every time"):
        site.run(go_on, full=False)


@pytest.mark.parametrize("given", ["churn", "md/churn", "modeldeployment/churn"])
def test_a_deployment_may_be_named_as_kubectl_names_it(site: Site, given: str) -> None:
    site.create(SERVED)
    assert site.deployments.get(given).metadata.name == "churn"
    assert site.client.requests[-1] == ("GET", MODEL_DEPLOYMENTS.path(NAMESPACE, "churn"))
    assert Deployments.object_name(given) == "churn"
