"""When schedules are due: the same times as Kubernetes' CronJob has, through time zones and changes of the clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.decide.schedule import check, due, next_after

# Worked out by robfig/cron 3.0.1, which CronJob's controller uses: schedule, zone, from, the next four in UTC.
CRONJOB = [
    ("0 3 * * 1", "UTC", "2026-01-01T00:00", "2026-01-05T03:00 2026-01-12T03:00 2026-01-19T03:00 2026-01-26T03:00"),
    (
        "*/15 9-17 * * MON-FRI",
        "Europe/Berlin",
        "2026-03-27T15:50",
        "2026-03-27T16:00 2026-03-27T16:15 2026-03-27T16:30 2026-03-27T16:45",
    ),
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-27T12:00",
        "2026-03-28T01:30 2026-03-30T00:30 2026-03-31T00:30 2026-04-01T00:30",
    ),
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00",
        "2026-10-25T00:30 2026-10-25T01:30 2026-10-26T01:30 2026-10-27T01:30",
    ),
    (
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-03-29T00:15",
        "2026-03-29T00:30 2026-03-29T01:00 2026-03-29T01:30 2026-03-29T02:00",
    ),
    (
        "*/30 * * * *",
        "America/New_York",
        "2026-11-01T05:15",
        "2026-11-01T05:30 2026-11-01T06:00 2026-11-01T06:30 2026-11-01T07:00",
    ),
    (
        "0 1,2,3 * * *",
        "America/New_York",
        "2026-11-01T04:00",
        "2026-11-01T05:00 2026-11-01T06:00 2026-11-01T07:00 2026-11-01T08:00",
    ),
    ("0 0 13 * 5", "UTC", "2026-01-01T00:00", "2026-01-02T00:00 2026-01-09T00:00 2026-01-13T00:00 2026-01-16T00:00"),
    ("0 0 */10 * 5", "UTC", "2026-01-01T00:00", "2026-01-02T00:00 2026-01-09T00:00 2026-01-11T00:00 2026-01-16T00:00"),
    ("0 0 * * 5", "UTC", "2026-01-01T00:00", "2026-01-02T00:00 2026-01-09T00:00 2026-01-16T00:00 2026-01-23T00:00"),
    ("0 0 1 * ?", "UTC", "2026-01-01T00:00", "2026-02-01T00:00 2026-03-01T00:00 2026-04-01T00:00 2026-05-01T00:00"),
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00", "2028-02-29T00:00 2032-02-29T00:00 2036-02-29T00:00 2040-02-29T00:00"),
    (
        "5/20 1 * JAN,jul *",
        "Asia/Kolkata",
        "2026-01-30T00:00",
        "2026-01-30T19:35 2026-01-30T19:55 2026-01-30T20:15 2026-06-30T19:35",
    ),
    ("0 12 * * 5/2", "UTC", "2026-01-01T00:00", "2026-01-02T12:00 2026-01-09T12:00 2026-01-16T12:00 2026-01-23T12:00"),
    (
        "0 12 * * 6-6/2",
        "UTC",
        "2026-01-01T00:00",
        "2026-01-03T12:00 2026-01-10T12:00 2026-01-17T12:00 2026-01-24T12:00",
    ),
    ("@weekly", "UTC", "2026-01-01T00:00", "2026-01-04T00:00 2026-01-11T00:00 2026-01-18T00:00 2026-01-25T00:00"),
    ("@hourly", "UTC", "2026-01-01T00:30", "2026-01-01T01:00 2026-01-01T02:00 2026-01-01T03:00 2026-01-01T04:00"),
    (
        "@yearly",
        "America/Sao_Paulo",
        "2026-01-01T00:30",
        "2026-01-01T03:00 2027-01-01T03:00 2028-01-01T03:00 2029-01-01T03:00",
    ),
    ("@monthly", "UTC", "2026-01-01T00:30", "2026-02-01T00:00 2026-03-01T00:00 2026-04-01T00:00 2026-05-01T00:00"),
    (
        "@daily",
        "Europe/Berlin",
        "2026-03-28T12:00",
        "2026-03-28T23:00 2026-03-29T22:00 2026-03-30T22:00 2026-03-31T22:00",
    ),
    ("0 0 1,* * 1", "UTC", "2026-01-01T00:00", "2026-01-05T00:00 2026-01-12T00:00 2026-01-19T00:00 2026-01-26T00:00"),
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("schedule", "zone", "start", "times"), CRONJOB)
def test_next_times_are_those_of_a_cronjob(schedule: str, zone: str, start: str, times: str) -> None:
    now, expected = at(start), [at(time) for time in times.split()]
    found = [now := next_after(schedule, zone, now) for _ in expected]
    assert found == expected


@pytest.mark.parametrize(("schedule", "zone", "start", "times"), CRONJOB)
def test_the_newest_time_is_due(schedule: str, zone: str, start: str, times: str) -> None:
    before = at(start)
    for time in map(at, times.split()):
        assert due(schedule, zone, before, time - timedelta(seconds=1)) is None
        assert due(schedule, zone, before, time) == time
        # However many were missed, the newest alone counts.
        assert due(schedule, zone, at(start), time + timedelta(seconds=1)) == time
        before = time


def test_a_time_that_was_due_at_the_start_is_not_due_again() -> None:
    assert due("0 3 * * *", None, at("2026-01-01T03:00"), at("2026-01-02T02:59")) is None


def test_without_a_zone_times_are_utc() -> None:
    assert next_after("0 3 * * *", None, at("2026-07-01T00:00")) == at("2026-07-01T03:00")


@given(
    minutes=st.integers(0, 60 * 24 * 365),
    schedule=st.sampled_from(["*/7 * * * *", "30 * * * *", "15 1,2 * * *", "0 0 * * 0"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"]),
)
def test_what_comes_next_is_due_then_and_not_before(minutes: int, schedule: str, zone: str) -> None:
    now = at("2026-01-01T00:00") + timedelta(minutes=minutes)
    following = next_after(schedule, zone, now)
    assert following > now
    assert due(schedule, zone, now, following) == following
    assert due(schedule, zone, now, following - timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    "schedule", ["0 3 * * 1", "*/5 * * * *", "@daily", "@annually", "0 0 ? JAN-MAR mon", "0 0 1,15 * *", "0 0 29 2 *"]
)
def test_good_schedules_have_nothing_wrong(schedule: str) -> None:
    assert check(schedule, "Europe/Berlin") is None


@pytest.mark.parametrize(
    ("schedule", "part"),
    [
        ("60 3 * * 1", "the minute '60' is not understood: write numbers from 0 to 59"),
        ("0 24 * * 1", "the hour '24' is not understood"),
        ("0 3 0 * *", "the day of the month '0' is not understood: write numbers from 1 to 31"),
        ("0 3 * JANUARY *", "the month 'JANUARY' is not understood: write numbers from 1 to 12 or JAN to DEC"),
        ("0 3 * * 7", "the day of the week '7' is not understood: write numbers from 0 to 6 or SUN to SAT"),
        ("0 3 * * FRI-MON", "the day of the week 'FRI-MON' is not understood"),
        ("*/0 3 * * *", "the minute '*/0' is not understood"),
        ("1,,2 3 * * *", "the minute '1,,2' is not understood"),
        ("1-2-3 3 * * *", "the minute '1-2-3' is not understood"),
        ("*-5 3 * * *", "the minute '*-5' is not understood"),
        ("0 3 L * *", "the day of the month 'L' is not understood"),
        ("0 3 * * MON#1", "the day of the week 'MON#1' is not understood"),
        ("TZ=UTC 0 3 * *", "the minute 'TZ=UTC' is not understood"),
        ("0 3 * *", "needs five fields (minute, hour, day of the month, month, day of the week), but has 4"),
        ("0 0 3 * * 1", "but has 6"),
        ("@every 1h", "is not one of @hourly, @daily"),
        ("0 3 30 2 *", "is never due: no month in 2 has a day 30"),
        ("0 3 31 4,6 *", "is never due: no month in 4,6 has a day 31"),
    ],
)
def test_a_bad_schedule_is_refused_with_its_field(schedule: str, part: str) -> None:
    refusal = check(schedule, None)
    assert refusal is not None
    assert refusal.startswith(f"spec.schedule {schedule!r}: ")
    assert part in refusal
    with pytest.raises(ValueError, match=re.escape(part)):
        next_after(schedule, None, at("2026-01-01T00:00"))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "Local", "../etc/passwd", "/etc/localtime", "Europe"])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    assert check("0 3 * * *", zone) == (
        f"spec.timeZone {zone!r} is not known: name one of the IANA time zone database, such as Europe/Berlin"
    )
