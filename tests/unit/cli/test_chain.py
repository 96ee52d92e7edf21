"""Every way to tamper with a log is found, and the record is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelyard.api.model_status import RecordsStatus
from modelyard.cli.chain import StoredRecord, check
from modelyard.cli.errors import ALTERED, Altered
from tests.unit.cli.logs import head, registered, stored

Records = list[StoredRecord]
LOG = stored(*(registered(number) for number in range(1, 7)))


def test_a_log_as_it_was_written_is_whole() -> None:
    events = check(LOG, head(LOG))
    assert [sealed.event.sequence for sealed in events] == [1, 2, 3, 4, 5, 6]


def test_a_log_may_be_ahead_of_the_status() -> None:
    assert len(check(LOG, head(LOG[:3]))) == 6


def test_a_model_without_records_is_whole() -> None:
    assert check([], RecordsStatus()) == []
    assert check([], None) == []


def changed(sequence: int, old: bytes, new: bytes) -> Callable[[Records], Records]:
    def change(records: Records) -> Records:
        return [
            StoredRecord(each.sequence, each.data.replace(old, new) if each.sequence == sequence else each.data)
            for each in records
        ]

    return change


def without(*sequences: int) -> Callable[[Records], Records]:
    return lambda records: [each for each in records if each.sequence not in sequences]


def swapped(one: int, other: int) -> Callable[[Records], Records]:
    def swap(records: Records) -> Records:
        data = {each.sequence: each.data for each in records}
        data[one], data[other] = data[other], data[one]
        return [StoredRecord(sequence, data[sequence]) for sequence in sorted(data)]

    return swap


def renumbered(records: Records) -> Records:
    """Record 3 taken out, and those that follow moved up, with their own numbers adapted, too."""
    kept = [each.data for each in records if each.sequence != 3]
    return [
        StoredRecord(number, data.replace(b'"sequence": %d' % (number + 1), b'"sequence": %d' % number))
        for number, data in enumerate(kept, start=1)
    ]


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (
            changed(3, b"runs:/r3", b"runs:/r9"),
            r"^record 3 was altered or replaced: record 4 was written after sha256:",
        ),
        (changed(1, b"mlflow", b"maria"), r"^record 1 was altered or replaced"),
        (
            changed(6, b"mlflow", b"maria"),
            r"^record 6 was altered or replaced: the object's status knows it as sha256:",
        ),
        (changed(3, b'"sequence": 3', b'"sequence": 7'), r"^record 3 is not in its place: it says that it is record 7"),
        (changed(3, b"{", b"["), r"^record 3 was altered: it is no record any more"),
        (changed(3, b"VersionRegistered", b"Nothing"), r"^record 3 was altered: it is no record any more"),
        (without(1), r"^record 1 is missing$"),
        (without(4), r"^record 4 is missing$"),
        (without(3, 4, 5), r"^records 3 to 5 are missing$"),
        (without(6), r"^record 6 is missing \(the object's status has taken them in\)$"),
        (without(1, 2, 3, 4, 5, 6), r"^records 1 to 6 are missing"),
        (swapped(2, 5), r"^record 2 is not in its place: it says that it is record 5"),
        (renumbered, r"^record 2 was altered or replaced: record 3 was written after sha256:"),
    ],
)
def test_tampering_is_found_and_named(tamper: Callable[[Records], Records], message: str) -> None:
    with pytest.raises(Altered, match=message) as found:
        check(tamper(LOG), head(LOG))
    assert found.value.code == ALTERED


def test_a_record_that_was_put_in_is_found() -> None:
    """A log with one more record in the middle, in a chain of its own, does not fit the head that the status knows."""
    forged = stored(*(registered(number) for number in (1, 2, 99, 3, 4, 5, 6)))
    with pytest.raises(Altered, match="record 6 was altered or replaced: the object's status knows it"):
        check(forged, head(LOG))


def test_without_an_object_what_is_missing_at_the_end_cannot_be_known() -> None:
    assert len(check(without(6)(LOG), None)) == 5
