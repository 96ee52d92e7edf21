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
_ALLOWED = (
    "0 to 59",
    "0 to 23",
    "1 to 31",
    "1 to 12 or JAN to DEC",
    "0 to 6 or SUN to SAT",
)
_NUMBER = "[0-9]{1,2}"
_MONTH = f"({_NUMBER}|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)"
_DAY = f"({_NUMBER}|SUN|MON|TUE|WED|THU|FRI|SAT)"
_ITEMS = tuple(
    re.compile(rf"([*?]|{number}(-{number})?)(/[0-9]+)?") for number in (_NUMBER, _NUMBER, _NUMBER, _MONTH, _DAY)
)
_LAST = ("59", "23", "31", "12", "6")
_DAYS_OF_MONTH, _DAYS_OF_WEEK = 2, 4
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
        if wall < found_wall - back if found else wall < _wall(after, zone) - _DAY_LONG:
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
    found_wall = datetime.min  # noqa: DTZ901 - compared with other readings of a clock
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
        CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001 - a reading of a clock
    except CronSimError as error:
        raise ValueError(_explained(fields, str(error))) from error
    return expression


def _field(number: int, field: str) -> str:
    items = field.split(",")
    wrong = next((item for item in items if not _ITEMS[number].fullmatch(item)), None)
    if wrong is not None:
        raise ValueError(_unreadable(number, field))
    # A star in a list is a star. With a step it is none: then the days of the month and of the week are alternatives.
    if any(item in ("*", "?", "*/1", "?/1") for item in items):
        return "*"
    return ",".join(_item(number, item) for item in items)


def _item(number: int, item: str) -> str:
    start, slash, step = item.partition("/")
    if start in ("*", "?") and slash:
        first = {_DAYS_OF_MONTH: "1", _DAYS_OF_WEEK: "0"}.get(number)
        return f"{first}-{_LAST[number]}/{step}" if first else f"*/{step}"
    if slash and "-" not in start:
        return f"{start}-{_LAST[number]}/{step}"
    return item


def _explained(fields: list[str], error: str) -> str:
    """Say which field is wrong, in words: cronsim names it by a hyphenated one."""
    names = {"minute": 0, "hour": 1, "day-of-month": 2, "month": 3, "day-of-week": 4}
    number = names.get(error.removeprefix("Bad "))
    if number == _DAYS_OF_MONTH and all(_parses(number, item) for item in fields[number].split(",")):
        return f"is never due: no month in {fields[3]} has a day {fields[2]}"
    return error if number is None else _unreadable(number, fields[number])


def _parses(number: int, item: str) -> bool:
    try:
        CronSim(" ".join("*" if other != number else item for other in range(5)), datetime(2000, 1, 1))  # noqa: DTZ001
    except CronSimError:
        return False
    return True


def _unreadable(number: int, field: str) -> str:
    return (
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
    seen = None
    for fold in (0, 1):
        instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if instant != seen and _wall(instant, zone) == wall:
            seen = instant
            yield instant


def _wall(instant: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(instant: datetime, zone: zoneinfo.ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _zone(name: str | None) -> zoneinfo.ZoneInfo:
    if name is not None and name.lower() in ("", "local"):
        raise ValueError(name)
    return zoneinfo.ZoneInfo(name or "UTC")
