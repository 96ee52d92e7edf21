"""Checks a log record by record: whether it is the one that was written, whole and in order. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from modelyard.api.model_status import RecordsStatus
from modelyard.cli.errors import Altered
from modelyard.records.events import Sealed


@dataclass(frozen=True)
class StoredRecord:
    """A record as it is stored: the sequence that its key says, and its bytes."""

    sequence: int
    data: bytes


def check(records: Sequence[StoredRecord], head: RecordsStatus | None) -> list[Sealed]:
    """Return the events of a whole log, from record 1 on.

    `head` is the newest record that the object's status has taken in (the log may have got on since), None where there
    is no object to ask. Raises `Altered`, which names the record.
    """
    checked: list[Sealed] = []
    for expected, record in enumerate(records, start=1):
        if record.sequence != expected:
            raise Altered(_missing(expected, record.sequence - 1))
        sealed = _read(record)
        if sealed.event.sequence != record.sequence:
            raise Altered(
                f"record {record.sequence} is not in its place: it says that it is record {sealed.event.sequence}"
            )
        _check_link(checked[-1] if checked else None, sealed)
        checked.append(sealed)
    if head is not None:
        _check_head(checked, head)
    return checked


def _read(record: StoredRecord) -> Sealed:
    try:
        return Sealed.of(record.data)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(step) for step in problem["loc"])
        raise Altered(
            f"record {record.sequence} was altered: it is no record any more ({where}: {problem['msg']})"
        ) from error


def _check_link(before: Sealed | None, sealed: Sealed) -> None:
    event = sealed.event
    expected = before.digest if before else ""
    if event.previous == expected:
        return
    if before is None:
        raise Altered(f"record 1 is not the first that was written: it follows {event.previous}")
    raise Altered(
        f"record {before.event.sequence} was altered or replaced: record {event.sequence} was written after "
        f"{event.previous or 'nothing'}, and it is {before.digest} now"
    )


def _check_head(checked: list[Sealed], head: RecordsStatus) -> None:
    if head.sequence > len(checked):
        raise Altered(_missing(len(checked) + 1, head.sequence) + " (the object's status has taken them in)")
    if head.sequence and checked[head.sequence - 1].digest != head.digest:
        raise Altered(
            f"record {head.sequence} was altered or replaced: the object's status knows it as {head.digest}, "
            f"and it is {checked[head.sequence - 1].digest} now"
        )


def _missing(first: int, last: int) -> str:
    if last <= first:
        return f"record {first} is missing"
    return f"records {first} to {last} are missing"
