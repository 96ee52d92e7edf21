"""Tables: plain in a pipe, coloured and within the width on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.text import Text

from modelyard.cli.output import Cell, Column, Format, Output, short_digest, short_time, styled

COLUMNS = (Column("NAME"), Column("WHY", folds=True), Column("MORE", wide=True))
ROWS: list[list[Cell]] = [
    ["one", "because [b]of[/b] this :smile:", "x"],
    [styled("Production"), Text("two\nlines"), "y"],
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(form: Format, stream: io.StringIO) -> str:
    Output(form, stream, io.StringIO()).table(COLUMNS, ROWS)
    return stream.getvalue()


def test_in_a_pipe_there_is_neither_colour_nor_markup_nor_trailing_space() -> None:
    assert written(Format.TABLE, io.StringIO()).splitlines() == [
        "NAME         WHY",
        "one          because [b]of[/b] this :smile:",
        "Production   two",
        "             lines",
    ]


def test_a_pipe_has_no_width() -> None:
    stream = io.StringIO()
    Output(Format.TABLE, stream).table([Column("A", folds=True)], [["x" * 5000]])
    assert stream.getvalue().splitlines()[1] == "x" * 5000


def test_wide_has_more_columns() -> None:
    assert written(Format.WIDE, io.StringIO()).splitlines()[0].split() == ["NAME", "WHY", "MORE"]


def test_an_optional_column_is_there_where_it_has_something_to_say() -> None:
    for cell, titles in (("", ["NAME"]), ("x", ["NAME", "RUN"])):
        stream = io.StringIO()
        Output(Format.TABLE, stream).table([Column("NAME"), Column("RUN", optional=True)], [["one", cell], ["two", ""]])
        assert stream.getvalue().splitlines()[0].split() == titles


def test_a_terminal_has_colours_and_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    Output(Format.TABLE, stream, io.StringIO()).table(
        [Column("NAME"), Column("WHY", folds=True)], [[styled("Production"), "word " * 20]]
    )
    lines = stream.getvalue().splitlines()
    assert "\x1b[32mProduction" in stream.getvalue()
    assert len(lines) > 3


def test_who_wants_no_colour_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" not in written(Format.TABLE, Terminal())


def test_json_is_json_and_keeps_letters() -> None:
    stream = io.StringIO()
    Output(Format.JSON, stream).json({"model": "Über"})
    assert stream.getvalue() == '{\n  "model": "Über"\n}\n'


def test_what_others_have_written_does_not_play_with_a_terminal() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        Output(Format.TABLE, stream).text("für\x1b[31m\tred\n")
    assert terminal.getvalue() == "für\ufffd[31m\tred\n"
    assert pipe.getvalue() == "für\x1b[31m\tred\n"


def test_what_is_waited_for_is_said_once_in_a_pipe() -> None:
    errors = io.StringIO()
    with Output(Format.TABLE, io.StringIO(), errors).waiting() as progress:
        progress.show("one")
        progress.show("two")
    assert errors.getvalue() == "one\ntwo\n"


def test_short_forms() -> None:
    assert short_time("2026-01-15T12:00:03.123Z") == "2026-01-15 12:00:03Z"
    assert short_time("") == ""
    assert short_digest("sha256:" + "ab" * 32) == "abababababab"
