"""The objective's curve in the terminal: every trial as a point, and the best so far as a line. Pure.

Marks differ by their form, not only by their colour: the picture says the same in a pipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from rich.text import Text

from modelyard.api.experiment import Goal
from modelyard.cli.output import BAD, GOOD, QUIET


class Mark(StrEnum):
    """What is drawn where."""

    BEST = "●"
    TRIAL = "•"
    STOPPED = "◦"
    FAILED = "×"  # noqa: RUF001 - a mark
    RUNNING = "▸"
    ABOVE = "▴"
    BELOW = "▾"


STYLES = {
    Mark.BEST: f"bold {GOOD}",
    Mark.TRIAL: "cyan",
    Mark.STOPPED: "yellow",
    Mark.FAILED: BAD,
    Mark.RUNNING: "cyan",
    Mark.ABOVE: "magenta",
    Mark.BELOW: "magenta",
}
_LEGEND = {
    Mark.BEST: "new best",
    Mark.TRIAL: "trial",
    Mark.STOPPED: "stopped early",
    Mark.FAILED: "failed",
    Mark.RUNNING: "running",
    Mark.ABOVE: "off the scale",
    Mark.BELOW: "off the scale",
}
_LINE = GOOD
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""A braille cell's bits by row and column, https://www.unicode.org/charts/PDF/U2800.pdf."""

_LEVEL = "━"
_CROSSED = {Goal.MAXIMIZE: "┯", Goal.MINIMIZE: "┷"}
"""The level line with a trial on it, which is not better."""

_OUTLIER = 3.0
"""Values farther than so many times the middle half's width from it are off the scale, unless they are good ones."""


_LARGEST = 1e150
"""Beyond it the differences of two values may be infinite. NaN is not below it either."""


class Outcome(StrEnum):
    """What became of a point's trial."""

    SUCCEEDED = "Succeeded"
    STOPPED = "Stopped"
    FAILED = "Failed"
    RUNNING = "Running"


_DRAWN = (Outcome.SUCCEEDED, Outcome.STOPPED)
"""Whose values are drawn; the others are on the axis."""


@dataclass(frozen=True)
class Point:
    """A trial: its place in the order of trials, from 0, and its value, as far as it has one."""

    x: int
    value: float | None
    outcome: Outcome


@dataclass(frozen=True)
class Scale:
    """Which value is in which row, and which trial in which column; row 0 is at the top."""

    low: float
    high: float
    step: float
    rows: int
    columns: int
    trials: int

    def row(self, value: float) -> float:
        """Return the row of a value, with the part of it; beyond the ends it is the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return (1 - share) * (self.rows - 1)

    def column(self, x: int) -> float:
        """Return the column of a trial, with the part of it."""
        return x * (self.columns - 1) / max(self.trials - 1, 1)

    def ticks(self) -> dict[int, str]:
        """Return the labels by row."""
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        decimals += round(self.step * 10**decimals, 6) % 1 > 0
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        values = [number * self.step for number in range(first, last + 1)]
        return {round(self.row(value)): _label(value, self.step, decimals) for value in values}


@dataclass
class _Canvas:
    scale: Scale
    cells: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    """(row, column) → (character, style)."""

    def put(self, row: int, column: int, character: str, style: str) -> None:
        self.cells[row, column] = (character, style)


def curve(points: Sequence[Point], goal: Goal, *, width: int, height: int, trials: int = 0) -> list[Text]:
    """Return the lines of the picture, `width` columns wide, with `height` rows between its top and its axis.

    `trials` is how many there will be, so that the picture of a running sweep does not change its scale. Where no
    trial has a value yet there is nothing to draw, and no line.
    """
    known = [each for each in points if each.outcome in _DRAWN and _number(each) is not None]
    if not known:
        return []
    low, high, step = _range(known, goal, height)
    count = max(trials, 1 + max(each.x for each in points))
    labels = Scale(low, high, step, height, 2, count).ticks()
    margin = max(map(len, labels.values()))
    columns = min(max(width - margin - 3, 8), max(6 * (count - 1) + 1, 36))
    canvas = _Canvas(Scale(low, high, step, height, columns, count))
    _draw_points(canvas, known)
    _draw_best(canvas, points, goal)
    lines = [_row(canvas, row, labels.get(row, ""), margin) for row in range(height)]
    axis, found = _axis(canvas.scale, points)
    lines.append(Text.assemble(" " * (margin + 1), axis))
    lines.append(Text.assemble(" " * (margin + 2), (_numbers(canvas.scale), QUIET)))
    lines.append(Text.assemble(" " * (margin + 2), _legend(canvas, found)))
    return lines


def _number(point: Point) -> float | None:
    """Return a value that can be drawn."""
    return point.value if point.value is not None and abs(point.value) < _LARGEST else None


def _numbers_of(points: Iterable[Point], *outcomes: Outcome) -> list[float]:
    return [value for each in points if each.outcome in outcomes and (value := _number(each)) is not None]


def _range(points: Sequence[Point], goal: Goal, height: int) -> tuple[float, float, float]:
    """Return the ends of the scale, and the distance of its labels, which are round."""
    good = sorted(_numbers_of(points, Outcome.SUCCEEDED)) or sorted(_numbers_of(points, *_DRAWN))
    first, third = (good[len(good) // 4], good[-1 - len(good) // 4]) if len(good) >= 4 else (good[0], good[-1])
    low, high, reach = good[0], good[-1], _OUTLIER * (third - first)
    if reach > 0:
        # Also of those that were stopped, which are on the bad side.
        near = [value for value in _numbers_of(points, *_DRAWN) if first - reach <= value <= third + reach]
        low, high = (min(near), high) if goal is Goal.MAXIMIZE else (low, max(near))
    if high - low <= abs(high) * 1e-12:
        spare = abs(high) * 0.05 or 1.0
        low, high = low - spare, high + spare
    wanted = (high - low) / max(2, (height + 1) // 2)
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= wanted * 0.999)
    return low, high, step


def _label(value: float, step: float, decimals: int) -> str:
    value = 0.0 if abs(value) < step / 2 else value
    if abs(value) >= 1e6 or decimals > 6:
        return f"{value:.3g}"
    return f"{value:.{decimals}f}"


def _draw_points(canvas: _Canvas, points: Sequence[Point]) -> None:
    """Put every trial where it belongs: one mark each, or dots where there are more trials than columns."""
    scale = canvas.scale
    dense = scale.trials > scale.columns
    dots: dict[tuple[int, int], int] = {}
    for point in points:
        value = _number(point)
        if value is None or point.outcome not in _DRAWN:
            continue
        row, column = scale.row(value), scale.column(point.x)
        cell = (round(row), round(column))
        if point.outcome is Outcome.STOPPED:
            mark = Mark.STOPPED
        elif not scale.low <= value <= scale.high:
            mark = Mark.ABOVE if value > scale.high else Mark.BELOW
        else:
            mark = Mark.TRIAL
        if dense and mark is Mark.TRIAL:
            part = min(3, int((row + 0.5 - cell[0]) * 4)), min(1, int((column + 0.5 - cell[1]) * 2))
            dots[cell] = dots.get(cell, 0) | _DOTS[part[0]][part[1]]
        elif mark is not Mark.STOPPED or cell not in canvas.cells:
            canvas.put(*cell, mark, STYLES[mark])
    for cell, bits in dots.items():
        canvas.put(*cell, chr(_BRAILLE | bits), STYLES[Mark.TRIAL])


def _draw_best(canvas: _Canvas, points: Sequence[Point], goal: Goal) -> None:
    """Draw the best so far, from the first trial that succeeded to the last that has ended."""
    scale, sign = canvas.scale, 1 if goal is Goal.MAXIMIZE else -1
    steps: list[tuple[int, int]] = []
    best: float | None = None
    for point in sorted(points, key=lambda each: each.x):
        value = _number(point)
        if (
            value is None
            or point.outcome is not Outcome.SUCCEEDED
            or (best is not None and sign * value <= sign * best)
        ):
            continue
        best = value
        steps.append((round(scale.column(point.x)), round(scale.row(value))))
    if not steps:
        return
    end = round(scale.column(max(each.x for each in points if each.outcome is not Outcome.RUNNING)))
    for (column, row), following in zip(steps, [*steps[1:], (end, -1)], strict=True):
        for between in range(column + 1, following[0] + (following[1] < 0)):
            _cross(canvas, row, between, goal)
    for before, (column, row) in pairwise(steps):
        _rise(canvas, column, before[1], row)
    for column, row in steps:
        canvas.put(row, column, Mark.BEST, STYLES[Mark.BEST])


def _cross(canvas: _Canvas, row: int, column: int, goal: Goal) -> None:
    """Draw a piece of the level line, which shows the trial that is there already."""
    taken = (row, column) in canvas.cells
    canvas.put(row, column, _CROSSED[goal] if taken else _LEVEL, _LINE)


def _rise(canvas: _Canvas, column: int, old: int, new: int) -> None:
    """Draw the upright piece between two levels; trials that it passes stay to be seen."""
    if old == new:
        return
    canvas.put(old, column, "┛" if new < old else "┓", _LINE)
    for row in range(min(old, new) + 1, max(old, new)):
        if (row, column) not in canvas.cells:
            canvas.put(row, column, "┃", _LINE)


def _row(canvas: _Canvas, row: int, label: str, margin: int) -> Text:
    line = Text.assemble((label.rjust(margin), QUIET), (" ┤" if label else " │", QUIET))
    cells = [canvas.cells.get((row, column), (" ", "")) for column in range(canvas.scale.columns)]
    for character, style in cells:
        line.append(character, style)
    return line


def _axis(scale: Scale, points: Sequence[Point]) -> tuple[Text, set[Mark]]:
    """Return the axis, with marks of the trials that failed or are running."""
    cells: dict[int, Mark] = {}
    for point in points:
        if point.outcome is Outcome.FAILED:
            cells[round(scale.column(point.x))] = Mark.FAILED
    for point in points:
        if point.outcome is Outcome.RUNNING:
            cells.setdefault(round(scale.column(point.x)), Mark.RUNNING)
    axis = Text("└", QUIET)
    ticks = _tick_columns(scale)
    for column in range(scale.columns):
        mark = cells.get(column)
        axis.append(mark or ("┴" if column in ticks else "─"), STYLES[mark] if mark else QUIET)
    return axis, set(cells.values())


def _tick_columns(scale: Scale) -> dict[int, int]:
    """Return the numbers that are written below the axis, by column."""
    wanted = max(scale.trials - 1, 1) / max(2, scale.columns // 9)
    power = 10 ** math.floor(math.log10(wanted)) if wanted >= 1 else 1
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= wanted)
    return {round(scale.column(x)): x for x in range(0, scale.trials, step)}


def _numbers(scale: Scale) -> str:
    line = ""
    for column, number in _tick_columns(scale).items():
        if column >= len(line) + bool(line) and column + len(str(number)) <= scale.columns + 2:
            line = line.ljust(column) + str(number)
    return line


def _legend(canvas: _Canvas, on_axis: set[Mark]) -> Text:
    drawn = {character for character, _ in canvas.cells.values()}
    dots = any(ord(character) >= _BRAILLE for character in drawn)
    said = on_axis | {mark for mark in Mark if mark in drawn}
    if dots or drawn & set(_CROSSED.values()):
        said.add(Mark.TRIAL)
    legend = Text()
    for words in dict.fromkeys(_LEGEND.values()):
        marks = [mark for mark in Mark if mark in said and _LEGEND[mark] == words]
        for mark in marks:
            form = "⠢" if mark is Mark.TRIAL and dots else mark
            legend.append("   " if legend and mark is marks[0] else "").append(form, STYLES[mark])
        if marks:
            legend.append(f" {words}", QUIET)
    return legend
