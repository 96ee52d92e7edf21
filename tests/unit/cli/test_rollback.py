"""`rollback` on a registry in memory: by the stage, the alias or the number that a deployment follows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.cli.deployments import MODEL_DEPLOYMENTS, Deployments
from modelyard.cli.errors import CliError
from modelyard.cli.model import Models
from modelyard.cli.output import Format
from modelyard.cli.rollback import rollback
from modelyard.cli.sources import Unavailable
from modelyard.decide.managers import owner_of
from modelyard.registry.edits import OwnedByGit
from tests.unit.cli.conftest import Terminal
from tests.unit.registry.world import NAMESPACE

GIT = ("argocd-controller",)


def serve(terminal: Terminal, reference: dict[str, Any], served: int | None = None, manager: str = "kubectl") -> None:
    """Create the deployment `churn-api` of the model `churn`."""
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "metadata": {"name": "churn-api", "namespace": NAMESPACE},
        "spec": {"model": {"name": "churn", **reference}, "rest": {}},
    }
    client = terminal.world.client
    made = client.create(MODEL_DEPLOYMENTS, NAMESPACE, body, manager)
    if served is not None:
        deployed = {"model": "churn", "version": served, "digest": "sha256:0", "since": "2026-05-01T12:00:00Z"}
        client.replace_status(MODEL_DEPLOYMENTS, {**made, "status": {"served": deployed}}, "modelyard-operator")


def run(
    terminal: Terminal, *git_managers: str, form: Format = Format.TABLE, models: Models | None = None, **given: Any
) -> int:
    asked = {"to": None, "no_wait": False, "timeout": 30.0, **given}
    deployments = Deployments(terminal.world.client, NAMESPACE, git_managers)
    return terminal.run(
        lambda found, output, arguments: rollback(found, deployments, output, arguments),
        form,
        models=models,
        deployment="churn-api",
        **asked,
    )


@pytest.fixture
def waking(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The operator reconciles while a command waits. Version 2 is in production, version 1 was."""

    def sleep(_: float) -> None:
        terminal.world.clock.forward(1)
        terminal.world.reconcile()

    monkeypatch.setattr("modelyard.cli.edit.time.sleep", sleep)
    return terminal


def no_records() -> Any:
    raise Unavailable("the operator does not give the records: forbidden")


def test_a_stage_gets_the_version_back_that_was_in_it_before(waking: Terminal) -> None:
    serve(waking, {"stage": "Production"})
    assert run(waking) == 0
    assert waking.lines == ["version 1 of churn is in Production"]
    model = waking.world.model()
    assert model.spec.stages["production"] == 1
    assert owner_of(model.metadata.managed_fields, ("spec", "stages", "production")) == "kubectl-modelyard"
    assert "follow it with: kubectl modelyard status churn-api --watch" in waking.err.getvalue()


def test_the_version_before_is_the_one_that_left_last_also_after_a_rollback(waking: Terminal) -> None:
    serve(waking, {"stage": "Production"})
    for expected in (1, 2, 1):
        assert run(waking) == 0
        assert waking.world.stages()["production"] == expected


def test_another_version_may_be_named(waking: Terminal) -> None:
    serve(waking, {"stage": "Production"})
    assert run(waking, to=3) == 0
    assert waking.world.stages() == {"production": 3}


def test_where_the_status_has_forgotten_the_records_know(waking: Terminal) -> None:
    serve(waking, {"stage": "Production"})
    waking.world.registry.update_status(
        NAMESPACE, "churn", lambda model: model.status.model_copy(update={"transitions": ()})
    )
    assert run(waking) == 0
    assert waking.world.stages()["production"] == 1


def test_a_stage_that_git_owns_is_gits(waking: Terminal) -> None:
    serve(waking, {"stage": "Production"})
    with pytest.raises(CliError) as error:
        run(waking, *GIT)
    assert not isinstance(error.value, OwnedByGit)
    assert str(error.value) == (
        "production of churn is managed by argocd-controller: change it there "
        "(git revert the commit that asked for the present version)"
    )
    assert waking.world.stages()["production"] == 2


@pytest.mark.parametrize(
    ("stages", "stage", "message"),
    [
        ({}, "Staging", "no version of churn was in Staging before version 3: say which version with --to"),
        ({"staging": None}, "Staging", "no version of churn is in Staging: say which version with --to"),
        (
            {"production": 9},
            "Production",
            "version 2 of churn is in Production, and spec.stages.production asks for version 9: say which",
        ),
        (
            {"production": 3, "staging": None},
            "Staging",
            "no version of churn is in Staging: say which version with --to",
        ),
    ],
)
def test_where_the_version_before_is_not_clear_it_has_to_be_said(
    waking: Terminal, stages: dict[str, int | None], stage: str, message: str
) -> None:
    serve(waking, {"stage": stage})
    if stages:
        waking.world.edit({"stages": stages})
        waking.world.reconcile()
    before = waking.world.model().spec
    with pytest.raises(CliError, match=message):
        run(waking)
    assert waking.world.model().spec == before


def test_without_the_records_the_status_is_all_there_is(waking: Terminal) -> None:
    serve(waking, {"stage": "Staging"})
    models = Models(waking.world.client, NAMESPACE, no_records)
    with pytest.raises(CliError, match="no version of churn was in Staging before version 3"):
        run(waking, models=models)


def test_an_alias_names_the_version_again_that_it_named_before(waking: Terminal) -> None:
    waking.world.edit({"aliases": {"champion": 3}})
    waking.world.reconcile()
    serve(waking, {"alias": "champion"})
    assert run(waking) == 0
    assert waking.lines == ["the alias champion of churn names version 2"]
    model = waking.world.model()
    assert model.spec.aliases == {"champion": 2}
    assert owner_of(model.metadata.managed_fields, ("spec", "aliases", "champion")) == "kubectl-modelyard"


def test_an_alias_may_be_given_any_version_that_there_is(waking: Terminal) -> None:
    serve(waking, {"alias": "champion"})
    with pytest.raises(CliError, match="no other version of churn is known to have had the alias champion"):
        run(waking)
    with pytest.raises(CliError, match="churn has no version 9: the latest is 3"):
        run(waking, to=9)
    assert run(waking, form=Format.JSON, to=1) == 0
    assert json.loads(waking.out.getvalue())["version"] == 1
    assert waking.world.model().spec.aliases == {"champion": 1}


def test_an_alias_that_git_owns_is_gits(waking: Terminal) -> None:
    waking.world.edit({"aliases": {"blue": 2}}, "argocd-controller")
    serve(waking, {"alias": "blue"})
    with pytest.raises(CliError, match=r"aliases.blue of churn is managed by argocd-controller: .*git revert"):
        run(waking, *GIT, to=1)
    assert waking.world.model().spec.aliases["blue"] == 2


def version_of(terminal: Terminal) -> int:
    body = terminal.world.client.get(MODEL_DEPLOYMENTS, NAMESPACE, "churn-api")
    return int(body["spec"]["model"]["version"])


def test_a_number_becomes_the_one_that_is_served_while_another_is_wanted(waking: Terminal) -> None:
    serve(waking, {"version": 3}, served=2)
    assert run(waking) == 0
    assert waking.lines == ["spec.model.version of churn-api is 2"]
    assert version_of(waking) == 2


def test_where_the_wanted_number_is_served_another_has_to_be_said(waking: Terminal) -> None:
    serve(waking, {"version": 3}, served=3)
    with pytest.raises(CliError, match=r"churn-api serves version 3, as its spec says, .*say which version with --to"):
        run(waking)
    assert run(waking, to=1) == 0
    assert version_of(waking) == 1


def test_a_number_that_git_owns_is_gits(waking: Terminal) -> None:
    serve(waking, {"version": 3}, served=2, manager="argocd-controller")
    with pytest.raises(
        CliError,
        match=r"spec.model.version of churn-api is managed by argocd-controller: change it there \(git revert the",
    ):
        run(waking, *GIT)
    assert version_of(waking) == 3


def test_there_has_to_be_a_deployment_and_a_model(waking: Terminal) -> None:
    with pytest.raises(CliError, match="there is no model deployment 'churn-api' in namespace ml"):
        run(waking)
    serve(waking, {"name": "other", "stage": "Production"})
    with pytest.raises(CliError, match="there is no registered model 'other' in namespace ml"):
        run(waking)
