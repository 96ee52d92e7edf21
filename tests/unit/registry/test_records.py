from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.registeredmodel import RegisteredModelStatus, Stage, StageStatus
from modelyard.registry.records import (
    FileRecord,
    MetadataRecord,
    MoveRecord,
    TransitionRecord,
    VersionRecord,
    fold,
)

AT = "2026-05-01T12:00:00.000Z"


def version(number: int) -> VersionRecord:
    return VersionRecord(
        id=f"id-{number}",
        model="churn",
        version=number,
        source="s3://b/m",
        artifact="s3://b/m",
        digest="sha256:" + "0" * 64,
        files=(FileRecord(path="MLmodel", sha256="0" * 64, size=1),),
        created_at=AT,
        created_by="mlflow",
    )


def promotion(sequence: int, number: int, before: int | None) -> TransitionRecord:
    moves = [MoveRecord(version=number, from_=Stage.NONE, to=Stage.PRODUCTION, by="mlflow")]
    if before not in (None, number):
        moves.append(MoveRecord(version=before or 0, from_=Stage.PRODUCTION, to=Stage.ARCHIVED, by="mlflow"))
    return TransitionRecord(
        id=f"id-{sequence}",
        sequence=sequence,
        at=AT,
        stages={"production": StageStatus(version=number, since=AT, by="mlflow")},
        moves=tuple(moves),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[VersionRecord], list[TransitionRecord]]:
    count = draw(st.integers(1, 8))
    promoted = draw(st.lists(st.integers(1, count), max_size=30))
    before: list[int | None] = [None, *promoted]
    transitions = [promotion(n + 1, number, before[n]) for n, number in enumerate(promoted)]
    return [version(number) for number in range(1, count + 1)], transitions


@given(histories(), st.data())
def test_records_taken_in_bit_by_bit_give_the_same_state(
    history: tuple[list[VersionRecord], list[TransitionRecord]], data: st.DataObject
) -> None:
    versions, transitions = history
    cut = data.draw(st.integers(0, len(transitions)))
    at_once = fold(RegisteredModelStatus(), versions, transitions)
    in_two = fold(fold(RegisteredModelStatus(), versions, transitions[:cut]), [], transitions[cut:])
    assert in_two == at_once


@given(histories())
def test_records_taken_in_twice_change_nothing(history: tuple[list[VersionRecord], list[TransitionRecord]]) -> None:
    once = fold(RegisteredModelStatus(), *history)
    assert fold(once, *history) == once


@given(histories())
def test_one_version_at_most_is_in_production(history: tuple[list[VersionRecord], list[TransitionRecord]]) -> None:
    status = fold(RegisteredModelStatus(), *history)
    held = [found.version for found in status.versions if found.stage == Stage.PRODUCTION]
    assert held == [stage.version for stage in status.stages.values()]


def test_what_a_newer_release_wrote_is_passed_over() -> None:
    text = version(1).to_json().replace(b'"schemaVersion": 1', b'"schemaVersion": 2, "signature": "x"')
    assert VersionRecord.model_validate_json(text).version == 1


def test_a_record_reads_as_it_was_written() -> None:
    for record in (version(3), promotion(1, 3, None), MetadataRecord(version=3, tags={"a": "b"}, updated_at=AT)):
        assert type(record).model_validate_json(record.to_json()) == record
    assert b'"from": "None"' in promotion(1, 3, None).to_json()


def test_an_edit_does_not_move_the_time_back() -> None:
    status = fold(RegisteredModelStatus(), [version(1)], [promotion(1, 1, None)])
    edited = fold(
        status, metadata=[MetadataRecord(version=1, description="text", updated_at="2020-01-01T00:00:00.000Z")]
    )
    found = edited.find(1)
    assert found is not None
    assert (found.description, found.updated_at) == ("text", AT)
