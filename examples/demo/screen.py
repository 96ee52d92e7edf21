"""What the demo shows: headings, commands, tables."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence

_STARTED = time.monotonic()
_COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _paint(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _COLOUR else text


def heading(text: str) -> None:
    """Begin a step; the time since the start stands beside it."""
    elapsed = time.monotonic() - _STARTED
    print(f"\n{_paint('1;36', f'━━ {text}')}  {_paint('2', f'[{elapsed:.0f} s]')}", flush=True)


def command(text: str) -> None:
    """Show a command as a person would type it."""
    print(_paint("1", f"$ {text}"), flush=True)


def say(text: str = "") -> None:
    """Say something."""
    print(text, flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Draw a table, columns as wide as they need to be."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        print(_paint("1", text) if number == 0 else text, flush=True)
