"""The reference names everything that there is."""

from __future__ import annotations

from pathlib import Path

from modelyard.api.reasons import Reason
from modelyard.api.reference import document, main

ROOT = Path(__file__).resolve().parents[3]


def test_the_file_is_the_one_that_the_types_make() -> None:
    assert (ROOT / "docs/reference.md").read_text() == document()


def test_every_reason_has_a_row() -> None:
    text = document()
    assert [reason for reason in Reason if f"| `{reason}` |" not in text] == []


def test_a_nested_field_and_its_rule_have_a_row() -> None:
    text = document()
    assert "| `spec.sweep.parameters.*.values` | list of string |" in text
    assert "Rule: unknown stage: spec.stages takes staging and production." in text
    assert "| `spec.gates.*[].job.command` **required** | list of string |" in text
    assert "Rule: a metric needs min, max or comparedTo." in text


def test_a_stale_file_fails_the_check(tmp_path: Path) -> None:
    file = tmp_path / "reference.md"
    assert main([str(file)]) == 0
    assert main(["--check", str(file)]) == 0
    file.write_text("changed")
    assert main(["--check", str(file)]) == 1
