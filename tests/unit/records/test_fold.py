from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.model_status import PreparationOutcome, PreparationStatus, StageStatus
from modelyard.api.registeredmodel import Stage
from modelyard.records.events import (
    Event,
    FileRecord,
    ModelContinued,
    ModelDeleted,
    ModelEdited,
    ModelRenamed,
    MoveRecord,
    PromotionRefused,
    PurgeStep,
    Sealed,
    StagesChanged,
    VersionDeleted,
    VersionEdited,
    VersionPrepared,
    VersionRegistered,
    VersionsPurged,
)
from modelyard.records.fold import ChainBroken, fold
from modelyard.records.state import ModelState

AT = "2026-05-01T12:00:00.000Z"
DIGEST = "sha256:" + "0" * 64
PREPARED = PreparationStatus(outcome=PreparationOutcome.VERIFIED, image="serving:1", directory="prepared/0/a")


def registered(number: int) -> VersionRegistered:
    return VersionRegistered(
        at=AT,
        by="mlflow",
        model="churn",
        version=number,
        source="s3://b/m",
        artifact="s3://b/m",
        digest=DIGEST,
        files=(FileRecord(path="MLmodel", sha256="0" * 64, size=1),),
    )


def promoted(number: int, before: int | None) -> StagesChanged:
    moves = [MoveRecord(version=number, from_=Stage.NONE, to=Stage.PRODUCTION, by="mlflow")]
    if before not in (None, number):
        moves.append(MoveRecord(version=before or 0, from_=Stage.PRODUCTION, to=Stage.ARCHIVED, by="mlflow"))
    stages = {"production": StageStatus(version=number, since=AT, by="mlflow")}
    return StagesChanged(at=AT, stages=stages, moves=tuple(moves))


def sealed(*events: Event) -> list[Sealed]:
    """The events as a log holds them."""
    log: list[Sealed] = []
    for sequence, event in enumerate(events, start=1):
        previous = log[-1].digest if log else ""
        written = event.model_copy(update={"sequence": sequence, "previous": previous, "id": str(sequence)})
        log.append(Sealed.of(written.to_json()))
    return log


EVERY_EVENT: list[Event] = [
    registered(1),
    registered(2),
    promoted(1, None),
    promoted(2, 1),
    VersionEdited(at=AT, version=1, description="text", tags={"a": "b"}),
    ModelEdited(at=AT, description="d", tags={"t": "x"}, aliases={"champion": 2}),
    PromotionRefused(at=AT, stage="production", version=1, fingerprint="f", gates=()),
    VersionsPurged(at=AT, versions=(1,), step=PurgeStep.DELETING),
    VersionPrepared(at=AT, version=2, digest=DIGEST, preparation=PREPARED),
    VersionDeleted(at=AT, version=1),
]


@st.composite
def histories(draw: st.DrawFn) -> list[Sealed]:
    count = draw(st.integers(1, 8))
    chosen = draw(st.lists(st.integers(1, count), max_size=30))
    before: list[int | None] = [None, *chosen]
    versions: list[Event] = [registered(number) for number in range(1, count + 1)]
    return sealed(*versions, *(promoted(number, before[turn]) for turn, number in enumerate(chosen)))


@given(histories(), st.data())
def test_events_taken_in_bit_by_bit_give_the_same_state(log: list[Sealed], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    assert fold(fold(ModelState(), log[:cut]), log[cut:]) == fold(ModelState(), log)


@given(histories())
def test_one_version_at_most_is_in_production(log: list[Sealed]) -> None:
    state = fold(ModelState(), log)
    held = [found.version for found in state.shown if found.stage == Stage.PRODUCTION]
    assert held == [stage.version for stage in state.stages.values()]


@given(histories(), st.data())
def test_a_record_that_is_missing_altered_or_moved_breaks_the_chain(log: list[Sealed], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(log) - 1))
    for broken in (
        log[:place] + log[place + 1 :],
        [*log[:place], Sealed.of(log[place].event.model_copy(update={"by": "eve"}).to_json()), *log[place + 1 :]],
        log[:place] + log[place + 1 :] + [log[place]],
    ):
        if [each.digest for each in broken] == [each.digest for each in log[: len(broken)]]:
            continue  # Only the last record is missing, which the head in the status tells.
        if len(broken) == len(log) and place == len(log) - 1:
            # Nothing follows the altered record: the state's digest, which the status has, is another one.
            assert fold(ModelState(), broken).digest != fold(ModelState(), log).digest
            continue
        with pytest.raises(ChainBroken):
            fold(ModelState(), broken)


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: event.type)
def test_an_event_reads_as_it_was_written(event: Event) -> None:
    assert Sealed.of(event.to_json()).event == event


def test_what_a_newer_release_wrote_is_passed_over() -> None:
    text = registered(1).to_json().replace(b'"schemaVersion": 1', b'"schemaVersion": 2, "signature": "x"')
    assert Sealed.of(text).event == registered(1).model_copy(update={"schema_version": 2})


def test_every_event_leaves_its_mark() -> None:
    state = fold(ModelState(), sealed(*EVERY_EVENT))
    assert (state.sequence, state.latest_version) == (10, 2)
    assert (state.description, state.tags, state.aliases) == ("d", {"t": "x"}, {"champion": 2})
    assert state.refusals["production"].version == 1
    first = state.versions[1]
    assert (first.description, first.tags, first.purge, first.deleted) == ("text", {"a": "b"}, "Deleting", True)
    assert (first.been_in, first.archived_at) == ((Stage.PRODUCTION,), AT)
    assert state.find(1) is None
    assert [version.version for version in state.shown] == [2]


def test_a_state_reads_as_it_was_written() -> None:
    state = fold(ModelState(), sealed(*EVERY_EVENT))
    assert ModelState.model_validate_json(state.model_dump_json(by_alias=True, exclude_none=True)) == state


def test_a_deleted_model_begins_again_without_versions_but_counts_on() -> None:
    log = sealed(registered(1), registered(2), ModelDeleted(at=AT, uid="u1"), registered(3))
    state = fold(ModelState(), log)
    assert [version.version for version in state.shown] == [3]
    assert state.has_ended("u1")
    assert not state.has_ended("u2")


def test_a_renamed_model_goes_on_in_its_new_log() -> None:
    old = fold(ModelState(), sealed(*EVERY_EVENT))
    ended = fold(ModelState(), sealed(*EVERY_EVENT, ModelRenamed(at=AT, to="new", uid="u1")))
    assert ended.ended is not None
    assert (ended.ended.renamed_to, ended.shown) == ("new", [])
    continued = ModelContinued(
        at=AT,
        from_object="churn",
        from_sequence=10,
        digest=ended.digest,
        state=old.model_dump(by_alias=True, mode="json", exclude_none=True),
    )
    new = fold(ModelState(), sealed(registered(5), ModelDeleted(at=AT, uid="u0"), continued, registered(6)))
    assert [version.version for version in new.shown] == [2, 6]
    assert (new.aliases, new.latest_version, new.transitions) == (old.aliases, 6, old.transitions)


def test_a_preparation_is_of_the_files_that_it_names_and_the_newest_counts() -> None:
    again = PREPARED.model_copy(update={"image": "serving:2", "directory": "prepared/0/b"})
    other = PREPARED.model_copy(update={"directory": "prepared/9/c"})
    events: list[Event] = [
        registered(1),
        VersionPrepared(at=AT, version=1, digest=DIGEST, preparation=PREPARED),
        VersionPrepared(at=AT, version=1, digest=DIGEST, preparation=again),
        VersionPrepared(at=AT, version=1, digest="sha256:" + "9" * 64, preparation=other),
        VersionPrepared(at=AT, version=7, digest=DIGEST, preparation=PREPARED),
    ]
    found = fold(ModelState(), sealed(*events)).versions[1]
    assert (found.preparation, found.prepared_in) == (again, ("prepared/0/a", "prepared/0/b"))
    purged = fold(ModelState(), sealed(*events, VersionsPurged(at=AT, versions=(1,), step=PurgeStep.DELETED)))
    assert (purged.versions[1].preparation, purged.versions[1].prepared_in) == (None, ())
