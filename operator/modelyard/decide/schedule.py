"""When an Experiment with a schedule is due, read as Kubernetes' CronJob reads it (robfig/cron, version 3).

cronsim walks the calendar in wall-clock time. What time zones do to it is decided here, since cronsim follows Debian's
cron, and CronJob does not: a time that the clocks leap over is not due at all, and one that they show twice is due
twice.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_ALLOWED = ("0 to 59", "0 to 23", "1 to 31", "1 to 12 or JAN to DEC", "0 to 6 or SUN to SAT")
_NAMES = {
    3: ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
    4: ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
}
_ITEM = re.compile(r"([*?]|[0-9A-Z]+)(-[0-9A-Z]+)?(/[0-9]+)?")
_DAY_LONG = timedelta(days=1)


def check(schedule: str, time_zone: str | None) -> str | None:
    """Return what is wrong with a schedule or its time zone, naming the field and what to do; None where nothing is."""
    try:
        _zone(time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return (
            f"spec.timeZone {time_zone!r} is not known: name one of the IANA time zone database, such as Europe/Berlin"
        )
    try:
        _expression(schedule)
    except ValueError as error:
        return f"spec.schedule {schedule!r}: {error}"
    return None


def due(schedule: str, time_zone: str | None, after: datetime, now: datetime) -> datetime | None:
    """Return the newest time that was due after `after` and not after `now`, in UTC; None where none was.

    Both times know their zone. Raises `ValueError` for what `check` refuses.
    """
    zone = _zone(time_zone)
    # Where clocks went back, a later reading of them may have been earlier.
    back = max(_offset(now - _DAY_LONG, zone) - _offset(now, zone), timedelta())
    found: datetime | None = None
    found_wall = datetime.max
    for wall in _walls(schedule, _wall(now, zone) + back, reverse=True):
        if wall < found_wall - back if found else max(_readings(wall, zone)) <= after:
            break
        for instant in _instants(wall, zone):
            if after < instant <= now and (found is None or instant > found):
                found, found_wall = instant, wall
    return found


def next_after(schedule: str, time_zone: str | None, now: datetime) -> datetime:
    """Return the next time that is due after `now`, in UTC. Raises `ValueError` for what `check` refuses."""
    zone = _zone(time_zone)
    back = max(_offset(now, zone) - _offset(now + _DAY_LONG, zone), timedelta())
    found: datetime | None = None
    found_wall = datetime.min
    for wall in _walls(schedule, _wall(now, zone) - back):
        if found and wall > found_wall + back:
            break
        for instant in _instants(wall, zone):
            if instant > now and (found is None or instant < found):
                found, found_wall = instant, wall
    if found is None:
        raise ValueError(f"{schedule!r} is never due")
    return found


@lru_cache(maxsize=256)
def _expression(schedule: str) -> str:
    """Return the schedule as cronsim reads it alike. Raises `ValueError` for what CronJob does not take, too."""
    fields = _NAMED.get(schedule, schedule).upper().split()
    if schedule.startswith("@") and schedule not in _NAMED:
        raise ValueError(f"is not one of {', '.join(_NAMED)}")
    if len(fields) != len(_FIELDS):
        raise ValueError(f"needs five fields ({', '.join(_FIELDS)}), but has {len(fields)}")
    expression = " ".join(_field(number, field) for number, field in enumerate(fields))
    try:
        CronSim(expression, datetime(2000, 1, 1))
    except CronSimError as error:
        # All of its numbers are good: what is left is a day that none of the months has.
        raise ValueError(f"is never due: no month in {fields[3]} has a day {fields[2]}") from error
    return expression


def _field(number: int, field: str) -> str:
    """Return a field as a star or a list of plain numbers, which leave nothing to interpretation.

    A star in a list is a star. One with a step is none: then the days of the month and of the week are alternatives.
    """
    items = [_item(number, field, item) for item in field.split(",")]
    if None in items:
        return "*"
    return ",".join(str(value) for value in sorted({value for item in items if item is not None for value in item}))


def _item(number: int, field: str, item: str) -> range | None:
    """Return the numbers of an item; None for a star."""
    lowest, highest = _RANGES[number]
    matched = _ITEM.fullmatch(item)
    if not matched:
        raise _unreadable(number, field)
    start, end, step = matched[1], (matched[2] or "")[1:], int((matched[3] or "/1")[1:])
    first, last = lowest, highest
    if start not in ("*", "?"):
        first = _number(number, field, start)
        last = _number(number, field, end) if end else highest if matched[3] else first
    elif end:
        raise _unreadable(number, field)
    elif step == 1:
        return None
    if not (lowest <= first <= last <= highest and step):
        raise _unreadable(number, field)
    return range(first, last + 1, step)


def _number(number: int, field: str, text: str) -> int:
    names = _NAMES.get(number, ())
    if text in names:
        return names.index(text) + _RANGES[number][0]
    if not text.isdigit() or len(text) > 2:
        raise _unreadable(number, field)
    return int(text)


def _unreadable(number: int, field: str) -> ValueError:
    return ValueError(
        f"the {_FIELDS[number]} {field!r} is not understood: write numbers from {_ALLOWED[number]}, ranges as 1-5,"
        " lists as 1,3 or steps as */2"
    )


def _walls(schedule: str, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    """Yield what the clock shows when the schedule is due, from a reading of it on; backwards with that one in it."""
    if reverse:
        start = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    yield from CronSim(_expression(schedule), start, reverse=reverse)


def _instants(wall: datetime, zone: zoneinfo.ZoneInfo) -> Iterator[datetime]:
    """Yield when clocks show this: once, not at all, or twice."""
    readings = (instant for instant in _readings(wall, zone) if _wall(instant, zone) == wall)
    yield from dict.fromkeys(readings)


def _readings(wall: datetime, zone: zoneinfo.ZoneInfo) -> tuple[datetime, datetime]:
    return (
        wall.replace(tzinfo=zone, fold=0).astimezone(UTC),
        wall.replace(tzinfo=zone, fold=1).astimezone(UTC),
    )


def _wall(instant: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(instant: datetime, zone: zoneinfo.ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _zone(name: str | None) -> zoneinfo.ZoneInfo:
    if name is not None and name.lower() in ("", "local"):
        raise ValueError(name)
    return zoneinfo.ZoneInfo(name or "UTC")
