"""Thousands of random operations on Modelyard's registry and on MLflow's own, in one process."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersion

from modelyard.registry.mlflow_store import ModelyardStore
from tests.differential.differences import DIFFERENCES
from tests.differential.generator import Generator
from tests.differential.in_memory import pair
from tests.differential.operations import Environment
from tests.differential.runner import Summary, compare
from tests.differential.tracking import tracking
from tests.fakes.artifacts import SETTINGS

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "mlflow.md"
SEEDS = range(10)
OPERATIONS = 505

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def at_its_usual_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow's database store checks itself in every session where it finds this.
    monkeypatch.delenv("PYTEST_CURRENT_TEST")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Environment]]:
    """A tracking store's database and what both registries find in it."""
    with tracking(tmp_path_factory.mktemp("tracking"), SETTINGS.artifacts_destination) as made:
        yield made


def test_the_registries_agree(tracked: tuple[Path, Environment]) -> None:
    summary = Summary()
    for seed in SEEDS:
        summary += compare(list(Generator(seed).operations(OPERATIONS)), lambda: pair(*tracked))
    print(f"\n{summary.table()}")
    assert summary.operations >= 5000
    # Most operations must come to something, and every difference that is counted must be met.
    assert summary.errors.total() < summary.operations / 2
    assert len(+summary.excused) == len(summary.counted)


class Forgetful(ModelyardStore):
    """Forgets the tags of versions with an alias."""

    def get_model_version(self, name: str, version: int) -> ModelVersion:
        found = super().get_model_version(name, version)
        if found.aliases:
            found._tags = {}
        return found


def test_a_difference_is_found_and_shrunk_to_what_it_needs(tracked: tuple[Path, Environment]) -> None:
    operations = list(Generator(1).operations(200))
    with pytest.raises(AssertionError, match=r"Operation\('get_model_version'") as raised:
        compare(operations, lambda: pair(*tracked, store_class=Forgetful), shrink_seconds=600)
    _, _, to_run_again = str(raised.value).partition("after (to run again):")
    # A model, a version with a tag, an alias, and the look at it.
    assert to_run_again.count("Operation(") <= 6


def test_the_document_lists_the_same_differences() -> None:
    text = DOCUMENT.read_text()
    section = text.partition("## Modelyard's registry and MLflow's own: what differs and why")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert rows[1:] == [difference.row for difference in DIFFERENCES]
