"""`retention --dry-run` on a registry in memory."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.cli.errors import CliError
from modelyard.cli.retention import retention
from tests.unit.cli.conftest import Terminal

GIVEN: dict[str, Any] = {"archived": None, "max_age": None, "dry_run": True}


@pytest.fixture
def archived(terminal: Terminal) -> Terminal:
    """Versions 1 and 2 are archived, 3 is in production, 4 in no stage; 2 has an alias."""
    world = terminal.world
    world.register(source="four")
    world.edit({"stages": {"production": 3, "staging": None}})
    world.reconcile()
    return terminal


def test_it_says_whose_files_would_go_and_why_the_rest_stays(archived: Terminal) -> None:
    before = archived.world.bucket.store().listing("s3://models/team/artifacts")
    archived.world.client.requests.clear()
    rows = archived.table(retention, **{**GIVEN, "archived": 0})
    assert [(row[0], row[1], row[-2], row[-1]) for row in rows[:-1]] == [
        ("1", "Archived", "DELETE", "0 archived versions are newer"),
        ("2", "Archived", "keep", "it has the alias champion"),
        ("3", "Production", "keep", "it is not archived"),
        ("4", "None", "keep", "it is not archived"),
    ]
    assert "the files of 1 of 4 versions would be deleted: 1" in archived.lines[-1]
    assert "nothing was deleted" in archived.err.getvalue()
    assert archived.world.client.writes == []
    assert archived.world.bucket.store().listing("s3://models/team/artifacts") == before


def test_it_takes_the_specs_word_where_nothing_else_is_said(archived: Terminal) -> None:
    archived.world.edit({"retention": {"archived": 5}})
    answer = archived.json(retention, **GIVEN)
    assert answer["retention"] == {"archived": 5}
    assert answer["delete"] == []
    assert [each["version"] for each in answer["keep"]] == [1, 2, 3, 4]


def test_the_command_line_goes_over_the_spec(archived: Terminal) -> None:
    archived.world.edit({"retention": {"archived": 5, "maxAge": "52w"}})
    answer = archived.json(retention, **{**GIVEN, "archived": 0})
    assert answer["retention"] == {"archived": 0, "maxAge": "52w"}
    assert [each["version"] for each in answer["delete"]] == [1]


def test_files_that_another_model_shares_stay(archived: Terminal) -> None:
    world = archived.world
    world.create("copy")
    world.register("copy", source="one")
    answer = archived.json(retention, **{**GIVEN, "archived": 0})
    assert answer["delete"] == []
    assert answer["keep"][0] == {"version": 1, "why": "another model has a version with the same files"}


def test_without_a_rule_there_is_nothing_to_say(archived: Terminal) -> None:
    with pytest.raises(CliError, match=r"churn has no spec\.retention: say --archived or --max-age"):
        archived.run(retention, **GIVEN)
