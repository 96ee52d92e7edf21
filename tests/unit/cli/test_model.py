"""A model's records: checked, and with those of the logs that they continue."""

from __future__ import annotations

import pytest

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import Stage
from modelyard.cli.chain import StoredRecord
from modelyard.cli.errors import Altered
from modelyard.cli.history import parse_time, rows, state_at
from modelyard.cli.model import Models
from modelyard.records.events import ModelContinued, ModelRenamed, Sealed
from modelyard.records.fold import fold
from modelyard.records.state import ModelState
from tests.fakes.cluster import FakeClient
from tests.unit.cli.logs import head, moved, registered, stored

OLD = stored(
    registered(1, "2026-01-01T00:00:00.000Z"),
    moved("2026-01-02T00:00:00.000Z", 1, (1, Stage.NONE, Stage.PRODUCTION)),
    ModelRenamed(at="2026-01-03T00:00:00.000Z", by="mlflow", to="churn-2", uid="u"),
)
BEFORE = fold(ModelState(), [Sealed.of(record.data) for record in OLD[:2]])
NEW = stored(
    ModelContinued(
        at="2026-01-03T00:00:00.000Z",
        by="mlflow",
        from_object="churn",
        from_sequence=2,
        digest=head(OLD[:2]).digest,
        state=BEFORE.model_dump(by_alias=True, mode="json"),
    ),
    registered(2, "2026-01-04T00:00:00.000Z", "churn-2"),
)


class Logs:
    """A source with these logs."""

    where = "a test"

    def __init__(self, **logs: list[StoredRecord]) -> None:
        self.logs = {name.replace("_", "-"): log for name, log in logs.items()}

    def records(self, namespace: str, name: str, after: int = 0) -> list[StoredRecord]:
        assert namespace == "ml"
        return [record for record in self.logs.get(name, []) if record.sequence > after]

    def evidence(self, namespace: str, name: str, evidence: str) -> bytes:
        raise NotImplementedError

    def artifacts(self) -> str:
        raise NotImplementedError


def models(source: Logs) -> Models:
    return Models(FakeClient(), "ml", lambda: source)


def test_a_renamed_model_has_its_past_under_the_other_name() -> None:
    records = models(Logs(churn=OLD, churn_2=NEW)).records("churn-2", None)
    assert [row.happened for row in rows([*records.earlier, *records.events])] == [
        "registered",
        "moved",
        "continued from churn, record 2",
        "registered",
    ]
    assert state_at(records.events, parse_time("2026-01-05")).stages["production"].version == 1
    assert records.state.latest_version == 2


@pytest.mark.parametrize(
    "past",
    [
        [],
        OLD[:1],
        stored(registered(1, "2026-01-01T00:00:01.000Z"), moved("2026-01-02T00:00:00.000Z", 1)),
    ],
)
def test_a_past_that_was_altered_or_removed_is_found(past: list[StoredRecord]) -> None:
    with pytest.raises(Altered, match="record 2 of churn, from which record 1 continues, was altered or removed"):
        models(Logs(churn=past, churn_2=NEW)).records("churn-2", None)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("churn", "churn"),
        ("registeredmodel/churn", "churn"),
        ("rm/churn", "churn"),
        ("Churn Model", RegisteredModel.object_name_of("Churn Model")),
        (RegisteredModel.object_name_of("Churn Model"), RegisteredModel.object_name_of("Churn Model")),
    ],
)
def test_a_model_is_named_as_people_name_it(given: str, name: str) -> None:
    assert Models.object_name(given) == name
