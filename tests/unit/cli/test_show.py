"""`history`, `versions` and `verify` on a registry in memory."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.cli.errors import ALTERED, Altered, CliError
from modelyard.cli.history import parse_time
from modelyard.cli.model import Models
from modelyard.cli.output import Format
from modelyard.cli.show import history, verify, versions
from modelyard.cli.sources import Source, Unavailable
from modelyard.registry.objects import REGISTERED_MODELS
from tests.unit.cli.conftest import Terminal
from tests.unit.registry.world import NAMESPACE

ALL: dict[str, Any] = {"at": None, "stage": None, "since": None, "version": None, "all": False}


def no_source() -> Source:
    raise Unavailable("the operator does not give the records: forbidden")


def test_a_history_is_a_table_of_every_transition(terminal: Terminal) -> None:
    rows = terminal.table(history, **ALL)
    assert rows == [
        ["2", "2026-05-01 13:00:00Z", "1", "None", "Production", "argocd-controller"],
        ["4", "2026-05-01 14:00:00Z", "2", "None", "Production", "argocd-controller"],
        ["4", "2026-05-01 14:00:00Z", "1", "Production", "Archived", "argocd-controller"],
        ["7", "2026-05-01 15:00:00Z", "3", "None", "Staging", "kubectl-edit"],
    ]
    assert "7 records in the artifact store, every one as it was written" in terminal.err.getvalue()


def test_a_history_for_a_program(terminal: Terminal) -> None:
    answer = terminal.json(history, **ALL)
    assert (answer["verified"], answer["records"]) == (True, 7)
    assert answer["head"] == terminal.world.status().records.to_dict()
    assert [event["sequence"] for event in answer["events"]] == [2, 4, 7]
    assert [move["version"] for move in answer["events"][1]["moves"]] == [2, 1]


def test_everything_that_happened(terminal: Terminal) -> None:
    rows = terminal.table(history, **{**ALL, "all": True})
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("at", "production"),
    [("2026-05-01T12:30Z", None), ("2026-05-01T13:30Z", 1), ("2026-05-01T14:30Z", 2), ("2027-01-01", 2)],
)
def test_what_was_in_production_then(terminal: Terminal, at: str, production: int | None) -> None:
    answer = terminal.json(history, **{**ALL, "at": parse_time(at), "stage": "production"})
    held = answer["stages"]["production"]
    assert (held and held["version"]) == production
    if held:
        assert held["by"] == "argocd-controller"
        assert held["digest"] == terminal.world.state().versions[production or 0].digest


def test_what_was_in_the_stages_then_as_a_table(terminal: Terminal) -> None:
    rows = terminal.table(history, **{**ALL, "at": parse_time("2026-05-01T13:30Z")})
    digest = terminal.world.state().versions[1].digest[7:19]
    assert rows == [["Production", "1", "2026-05-01 13:00:00Z", "argocd-controller", digest], ["Staging", "none"]]


def test_a_history_outlives_the_object(terminal: Terminal) -> None:
    terminal.world.client.delete(REGISTERED_MODELS, NAMESPACE, "churn")
    assert len(terminal.table(history, **ALL)) == 4


def test_without_records_the_newest_transitions_are_shown_and_the_reason(terminal: Terminal) -> None:
    models = Models(terminal.world.client, NAMESPACE, no_source)
    rows = terminal.table(history, models=models, **ALL)
    assert [(row[0], row[2], row[4]) for row in rows] == [
        ("2", "1", "Production"),
        ("4", "2", "Production"),
        ("4", "1", "Archived"),
        ("7", "3", "Staging"),
    ]
    assert "forbidden" in terminal.err.getvalue()
    assert "the chain of records was not checked" in terminal.err.getvalue()


def test_without_records_a_question_about_the_past_has_no_answer(terminal: Terminal) -> None:
    models = Models(terminal.world.client, NAMESPACE, no_source)
    with pytest.raises(Unavailable, match="forbidden"):
        terminal.run(history, models=models, **{**ALL, "at": parse_time("2026-05-01")})


def test_a_model_that_never_was_is_said(terminal: Terminal) -> None:
    models = terminal.models
    models.namespace = "elsewhere"
    with pytest.raises(CliError, match=r"no registered model 'churn' in namespace elsewhere, and no record of one"):
        terminal.run(history, models=models, **ALL)


@pytest.mark.parametrize("command", [history, verify, versions])
def test_every_command_finds_a_record_that_was_altered(terminal: Terminal, command: Any) -> None:
    key = "registry/ml/churn/log/00000004.json"
    store = terminal.world.store
    store.put(key, store.get(key).data.replace(b"argocd-controller", b"somebody-else"))
    with pytest.raises(Altered, match="record 4 was altered or replaced") as found:
        terminal.run(command, artifacts=False, **ALL)
    assert found.value.code == ALTERED


def test_a_record_that_is_not_named_as_one_is_found(terminal: Terminal) -> None:
    terminal.world.store.put("registry/ml/churn/log/zzz.json", b"{}")
    with pytest.raises(Altered, match=r"zzz\.json is among the records and is none"):
        terminal.run(verify, artifacts=False)


def test_versions_are_a_table_newest_first(terminal: Terminal) -> None:
    states = terminal.world.state().versions
    rows = terminal.table(versions)
    assert [row[:2] for row in rows] == [["3", "Staging"], ["2", "Production"], ["1", "Archived"]]
    assert rows[1] == ["2", "Production", "champion", states[2].digest[7:19], "2026-05-01 13:00:00Z", "mlflow"]
    wide = terminal.table(versions, Format.WIDE)
    assert wide[0][-3:] == ["python_function,sklearn", "kept", states[3].artifact]


def test_versions_for_a_program_have_everything(terminal: Terminal) -> None:
    newest = terminal.json(versions)[0]
    assert (newest["version"], newest["stage"], newest["aliases"]) == (3, "Staging", [])
    assert newest["digest"].startswith("sha256:")


def test_without_records_versions_are_those_of_the_status(terminal: Terminal) -> None:
    rows = terminal.table(versions, models=Models(terminal.world.client, NAMESPACE, no_source))
    assert [row[0] for row in rows] == ["3", "2", "1"]


def test_verify_says_what_it_checked(terminal: Terminal) -> None:
    assert terminal.run(verify, artifacts=True) == 0
    assert terminal.lines == [
        "7 records, every one as it was written and in its place",
        f"the last is 7, {terminal.world.status().records.digest}",
        "the object's status has taken in 7 of them, and agrees",
        "the files of 3 versions were read, 0 are not as registered",
    ]


def test_verify_reads_every_file(terminal: Terminal) -> None:
    states = terminal.world.state().versions
    terminal.world.bucket.put(f"{states[1].artifact}/model.pkl", b"another")
    terminal.world.bucket.delete(f"{states[2].artifact}/MLmodel")
    terminal.world.bucket.delete(f"{states[2].artifact}/model.pkl")
    assert terminal.run(verify, artifacts=True) == ALTERED
    assert f"version 1: registered as {states[1].digest}, its files make sha256:" in terminal.out.getvalue()
    assert f"version 2: there is no file below {states[2].artifact}" in terminal.out.getvalue()
    assert terminal.run(verify, Format.JSON, artifacts=True) == ALTERED
