"""What a person reads, or a program: tables on a terminal, plain ones in a pipe, JSON."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000
"""Columns of what is no terminal: nothing is wrapped there."""

Cell = str | Text
Part = Text | Table


class Format(StrEnum):
    """`-o`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


@dataclass(frozen=True)
class Column:
    """A column.

    One that is `wide` is shown with `-o wide` only, one that is `optional` where a cell has something to say; one that
    `folds` gives way to the others.
    """

    title: str
    wide: bool = False
    folds: bool = False
    optional: bool = False


GOOD, BAD, QUIET = "green", "bold red", "dim"

STYLES = {
    "Production": GOOD,
    "Staging": "yellow",
    "Archived": QUIET,
    "None": QUIET,
    "Passed": GOOD,
    "Failed": BAD,
    "Refused": BAD,
    "Running": "cyan",
    "Succeeded": GOOD,
    "Stopped": "yellow",
    "Suspended": "yellow",
    "Building": "cyan",
    "Scheduled": "cyan",
    "Following": "cyan",
    "Waiting": "yellow",
    "Unknown": "yellow",
    "Inconclusive": "yellow",
    "True": GOOD,
    "False": BAD,
    "Serving": GOOD,
    "Progressing": "cyan",
    "Held": "yellow",
    "Paused": "yellow",
    "Pending": "yellow",
    "RolledBack": BAD,
    "Degraded": BAD,
    "stable": GOOD,
    "candidate": "cyan",
    "draining": QUIET,
    "refused": BAD,
}


def styled(word: str) -> Text:
    """Return a stage or a verdict in its colour."""
    return Text(word, STYLES.get(word, ""))


class Output:
    """Writes what a command found to `out`, and what it has to say besides to `err`."""

    def __init__(self, form: Format, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.format = form
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    @property
    def is_json(self) -> bool:
        """Whether a program reads it."""
        return self.format == Format.JSON

    def json(self, value: Any) -> None:
        """Write a JSON value."""
        self._out.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

    def json_line(self, value: Any) -> None:
        """Write a JSON value in one line, for who reads one after the other."""
        self._out.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._out.flush()

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
        """Write a table; every row has a cell for every column, wide or not."""
        self._print(self._out, self.laid_out(columns, rows))

    def laid_out(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> Table:
        """Return the table that `table` writes."""
        shown = [
            index
            for index, column in enumerate(columns)
            if self.format == Format.WIDE
            or not (column.wide or (column.optional and not any(str(row[index]) for row in rows)))
        ]
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        for index in shown:
            column = columns[index]
            table.add_column(column.title, no_wrap=not column.folds, overflow="fold")
        for row in rows:
            table.add_row(*(_text(row[index]) for index in shown))
        return table

    def draw(self, parts: Sequence[Part]) -> None:
        """Write one below the other."""
        for part in parts:
            self._print(self._out, part)

    @property
    def size(self) -> tuple[int, int] | None:
        """The columns and rows of the terminal; None where it is none."""
        if not self._out.isatty():
            return None
        console = Console(file=self._out)
        return console.width, console.height

    @contextmanager
    def screen(self) -> Iterator[Screen]:
        """Draw again and again, until the block ends: in place on a terminal, else one below the other."""
        screen = Screen(self, self._out)
        try:
            yield screen
        finally:
            screen.end()

    def say(self, *parts: Cell) -> None:
        """Write a line."""
        self._print(self._out, Text.assemble(*(_text(part) for part in parts)))

    def text(self, text: str) -> None:
        """Write what others have written; on a terminal it gets to move no cursor and change no colour."""
        if self._out.isatty():
            text = "".join(letter if letter in "\n\t" or letter.isprintable() else "\ufffd" for letter in text)
        self._out.write(text)

    def note(self, message: str) -> None:
        """Say something that is no part of the answer."""
        self._print(self._err, Text(message, QUIET))

    def error(self, message: str) -> None:
        """Say what went wrong."""
        self._print(self._err, Text.assemble(("error: ", BAD), message))

    @contextmanager
    def waiting(self) -> Iterator[Progress]:
        """Show what is waited for, until the block ends: a spinner, or a line for every change."""
        progress = Progress(self, self._err)
        try:
            yield progress
        finally:
            progress.end()

    def _print(self, stream: TextIO, what: Part) -> None:
        terminal = stream.isatty()
        rendered = io.StringIO()
        width = Console(file=stream).width if terminal else _UNBOUNDED
        Console(file=rendered, force_terminal=terminal, width=width, highlight=False, markup=False, emoji=False).print(
            what, soft_wrap=isinstance(what, Text)
        )
        lines = rendered.getvalue().splitlines()
        stream.write("".join(f"{line.rstrip()}\n" for line in lines))
        stream.flush()


class Screen:
    """Where the same is drawn again and again."""

    def __init__(self, output: Output, stream: TextIO) -> None:
        self._output = output
        self._drawn = False
        self._live: Live | None = None
        if stream.isatty():
            console = Console(file=stream, highlight=False, markup=False, emoji=False)
            self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.start()

    @property
    def redraws(self) -> bool:
        """Whether what is drawn takes the place of what was drawn before."""
        return self._live is not None

    def draw(self, parts: Sequence[Part]) -> None:
        """Draw this from now on."""
        if self._live:
            self._live.update(Group(*parts), refresh=True)
            return
        self._output.draw([*([Text("")] if self._drawn else []), *parts])
        self._drawn = True

    def clear(self) -> None:
        """Draw nothing from now on."""
        if self._live:
            self._live.update(Group(), refresh=True)

    def end(self) -> None:
        """Leave what was drawn last."""
        if self._live:
            self._live.stop()


class Progress:
    """What is waited for now."""

    def __init__(self, output: Output, stream: TextIO) -> None:
        self._output = output
        self._said = ""
        self._status = Console(file=stream, highlight=False).status("") if stream.isatty() else None
        if self._status:
            self._status.start()

    def show(self, message: str) -> None:
        """Show this from now on."""
        if message == self._said:
            return
        self._said = message
        if self._status:
            self._status.update(Text(message))
        else:
            self._output.note(message)

    def end(self) -> None:
        """Show nothing any more."""
        if self._status:
            self._status.stop()


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def short_time(at: str) -> str:
    """Return an RFC 3339 time to the second, as people read it; always UTC."""
    return at[:19].replace("T", " ") + "Z" if len(at) >= 19 else at


def short_digest(digest: str) -> str:
    """Return the first twelve hexadecimal digits of `sha256:<hex>`."""
    return digest.removeprefix("sha256:")[:12]


def short_age(seconds: float) -> str:
    """Return a time span in its two largest units: 45s, 4m12s, 3h5m, 12d3h."""
    whole = max(0, int(seconds))
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size}{unit}" + (f"{rest}{smaller}" if rest else "")
    return f"{whole}s"
