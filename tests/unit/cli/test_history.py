"""What a log says, and what was the case at a moment."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelyard.api.gates import GateResult, GateVerdict
from modelyard.api.stages import Stage
from modelyard.cli.chain import check
from modelyard.cli.history import Wanted, entered, event_json, parse_time, rows, state_at
from modelyard.records.events import (
    Event,
    ModelRenamed,
    PromotionRefused,
    PurgeStep,
    Sealed,
    StageGates,
    VersionDeleted,
    VersionsPurged,
)
from tests.unit.cli.logs import moved, registered, stored

FAILED = GateResult(name="quality", verdict=GateVerdict.FAILED, message="f1_score 0.71, at least 0.85")
PASSED = GateResult(name="quality", verdict=GateVerdict.PASSED, message="f1_score 0.91, at least 0.85")


def sealed(*events: Event) -> list[Sealed]:
    return check(stored(*events), None)


LOG = sealed(
    registered(1, "2026-01-10T00:00:00.000Z"),
    registered(2, "2026-01-11T00:00:00.000Z"),
    moved("2026-01-12T00:00:00.000Z", 1, (1, Stage.NONE, Stage.PRODUCTION)),
    PromotionRefused(
        at="2026-01-14T00:00:00.000Z", by="mlflow", stage="production", version=2, fingerprint="f", gates=(FAILED,)
    ),
    moved(
        "2026-01-16T00:00:00.000Z",
        2,
        (1, Stage.PRODUCTION, Stage.ARCHIVED),
        (2, Stage.NONE, Stage.PRODUCTION),
        by="argocd-controller",
    ).model_copy(
        update={"gates": (StageGates(stage="production", version=2, gates=(PASSED,)),), "revision": "3f1c2ab"}
    ),
    VersionsPurged(at="2026-01-17T00:00:00.000Z", by="modelyard-operator", versions=(1,), step=PurgeStep.DELETED),
    VersionDeleted(at="2026-01-18T00:00:00.000Z", by="mlflow", version=1),
)


def lines(wanted: Wanted) -> list[tuple[int, str, int | None, str, str, str]]:
    return [
        (row.event.sequence, row.happened, row.version, row.from_, row.to, row.by)
        for row in rows(LOG)
        if wanted.includes(row)
    ]


def test_a_history_is_every_transition_and_every_refusal() -> None:
    assert lines(Wanted()) == [
        (3, "moved", 1, "None", "Production", "kubectl-edit"),
        (4, "refused", 2, "", "Production", "mlflow"),
        (5, "moved", 1, "Production", "Archived", "argocd-controller"),
        (5, "moved", 2, "None", "Production", "argocd-controller"),
    ]


def test_the_gates_stand_beside_the_version_that_they_judged() -> None:
    assert [(row.event.sequence, row.version, row.gates) for row in rows(LOG) if row.gates] == [
        (4, 2, (FAILED,)),
        (5, 2, (PASSED,)),
    ]


def test_one_versions_history() -> None:
    assert [line[0] for line in lines(Wanted(version=2))] == [4, 5]


def test_a_history_since_a_moment() -> None:
    assert [line[0] for line in lines(Wanted(since=datetime(2026, 1, 16, tzinfo=UTC)))] == [5, 5]


def test_everything_else_is_there_where_it_is_asked_for() -> None:
    happened = [(line[0], line[1]) for line in lines(Wanted(everything=True))]
    assert happened == [
        (1, "registered"),
        (2, "registered"),
        (3, "moved"),
        (4, "refused"),
        (5, "moved"),
        (5, "moved"),
        (6, "files deleted"),
        (7, "deleted"),
    ]
    (renamed,) = rows(sealed(ModelRenamed(at="2026-01-19T00:00:00.000Z", to="churn-2", uid="u")))
    assert renamed.happened == "renamed to churn-2"


@pytest.mark.parametrize(
    ("moment", "production"),
    [
        ("2026-01-09", None),
        ("2026-01-11T23:59:59Z", None),
        ("2026-01-12T00:00:00Z", 1),
        ("2026-01-15T12:00Z", 1),
        ("2026-01-15T23:59:59.999Z", 1),
        ("2026-01-16T01:00+02:00", 1),
        ("2026-01-16T00:00Z", 2),
        ("2030-01-01", 2),
    ],
)
def test_what_was_in_production_then(moment: str, production: int | None) -> None:
    held = state_at(LOG, parse_time(moment)).stages.get("production")
    assert (held.version if held else None) == production


def test_how_a_version_came_into_its_stage() -> None:
    change = entered(LOG, "production", 2, "2026-01-16T00:00:00.000Z")
    assert change is not None
    assert (change.sequence, change.revision) == (5, "3f1c2ab")
    assert entered(LOG, "production", 3, "2026-01-16T00:00:00.000Z") is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-15T12:00Z", datetime(2026, 1, 15, 12, tzinfo=UTC)),
        ("2026-01-15T12:00:30.5Z", datetime(2026, 1, 15, 12, 0, 30, 500000, tzinfo=UTC)),
        ("2026-01-15 12:00", datetime(2026, 1, 15, 12, tzinfo=UTC)),
        ("2026-01-15", datetime(2026, 1, 15, tzinfo=UTC)),
        ("2026-01-15T14:00+02:00", datetime(2026, 1, 15, 12, tzinfo=UTC)),
    ],
)
def test_times_as_people_write_them(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


def test_an_event_for_a_program_is_the_record_without_its_files() -> None:
    event = event_json(LOG[4].event)
    assert event["type"] == "StagesChanged"
    assert event["moves"][0] == {"version": 1, "from": "Production", "to": "Archived", "by": "argocd-controller"}
    assert "files" not in event_json(LOG[0].event)
