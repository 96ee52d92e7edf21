"""Puts values into a shell command so that the shell evaluates none of them.

A value that is quoted as a word is safe where a word is expected. Inside quotes, which authors like to write around
their placeholders, the same text would be taken apart: there the quotes are closed before it and opened again. Where
no quoting helps (backquotes, arithmetic, here-documents), only values that need none are taken.

Grammar: https://www.gnu.org/software/bash/manual/html_node/Shell-Syntax.html
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

MARK = "\0"
"""Stands for a value in a command."""

_HEREDOC = re.compile(r"<<-?[ \t]*(?:'([^'\n\0]+)'|\"([^\"\n\0]+)\"|\\([\w.-]+)|([\w.-]+))(?=[\s;&|)<>]|$)")
_PROGRAM = re.compile(
    r"(?:^|[\s;&|(])(?:\S*/)?(?:(?:ba|da|z|k)?sh|python[\d.]*|perl|ruby|Rscript|node)(?:\s+-\S+)*\s+-\w*[ce]\s+$"
    r"|(?:^|[\s;&|(])eval\s+$"
)
"""What comes before the text of a program, which another interpreter reads."""

_OPENING = {"$'": "ansi", "'": "single", '"': "double", "((": "arithmetic", "(": "command"}
"""What opens a part of a command outside quotes, besides expansions."""

_PROGRAM_REACH = 200
"""How far before a quote that is looked for."""

_CASE = re.compile(r"case(?=\s)")


class Unfit(Exception):
    """A value would be evaluated in its place; `index` is the place's, counted from 0."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class Where(Enum):
    """What surrounds a place in a command."""

    WORD = "a word"
    DOUBLE = "double quotes"
    SINGLE = "single quotes"
    PROGRAM_DOUBLE = "a program in double quotes"
    PROGRAM_SINGLE = "a program in single quotes"
    COMMENT = "a comment"
    LITERAL_HEREDOC = "a here-document in quotes"
    HEREDOC = "a here-document"
    DOLLAR = "a dollar sign"
    FRAGILE = "backquotes, arithmetic, ${…}, $'…' or behind a backslash"


@dataclass
class _Frame:
    kind: str
    program: bool = False
    depth: int = 0


def fill(text: str, values: Sequence[str]) -> str:
    """Return the command with each `MARK` replaced by its value.

    Raises `Unfit` where a value would be evaluated.
    """
    words = text.split(MARK)
    filled = [words[0]]
    for index, (where, value) in enumerate(zip(_Lexer(text).places(), values, strict=True)):
        filled += [_placed(index, value, where), words[index + 1]]
    return "".join(filled)


def _placed(index: int, value: str, where: Where) -> str:
    quoted = shlex.quote(value)
    plain = quoted == value
    if where is Where.DOLLAR:
        raise Unfit(index, "it stands directly behind a $, which would make a variable of its value")
    if where is Where.WORD or (plain and value):
        return quoted
    if where in (Where.DOUBLE, Where.SINGLE):
        quote = '"' if where is Where.DOUBLE else "'"
        return f"{quote}{quoted}{quote}"
    if where is Where.PROGRAM_SINGLE:
        return f"'{shlex.quote(quoted)}'"
    if where is Where.PROGRAM_DOUBLE:
        return f'"{shlex.quote(quoted)}"' if set(quoted) & set('$`\\"') else quoted
    unfit = {Where.COMMENT: "\n", Where.LITERAL_HEREDOC: "\n", Where.HEREDOC: "\n$`\\"}.get(where)
    if (unfit is None and value) or set(value) & set(unfit or ""):
        raise Unfit(index, f"it stands in {where.value}, where the shell would evaluate the value {value[:100]!r}")
    return quoted


class _Lexer:
    """Reads a command once, and notes what is around each `MARK`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._stack = [_Frame("command")]
        self._lost = False
        self._word_begins = True
        self._heredocs: list[tuple[str, bool, bool]] = []
        self._found: list[Where] = []

    def places(self) -> list[Where]:
        """Return what is around each mark, in their order."""
        steps = {
            "command": self._command,
            "double": self._double,
            "single": self._single,
            "ansi": self._ansi,
            "comment": self._comment,
        }
        while self._at < len(self._text):
            if self._text[self._at] == MARK:
                self._found.append(self._where())
                self._at += 1
                self._word_begins = False
            else:
                steps.get(self._stack[-1].kind, self._fragile)()
        return self._found

    def _where(self) -> Where:
        frame = self._stack[-1]
        if frame.kind not in ("single", "comment") and self._dollar_before():
            return Where.DOLLAR
        if self._lost or any(other.kind not in ("command", "double", "single", "comment") for other in self._stack):
            return Where.FRAGILE
        if frame.kind != "single" and self._text[self._at - 1 : self._at] == "\\" and self._escaping(self._at - 1):
            return Where.FRAGILE
        if frame.kind == "double":
            return Where.PROGRAM_DOUBLE if frame.program else Where.DOUBLE
        if frame.kind == "single":
            return Where.PROGRAM_SINGLE if frame.program else Where.SINGLE
        return Where.COMMENT if frame.kind == "comment" else Where.WORD

    def _dollar_before(self) -> bool:
        return self._text[self._at - 1 : self._at] == "$" and not self._escaping(self._at - 2)

    def _escaping(self, at: int) -> bool:
        """Say whether the character is a backslash that escapes what follows."""
        count = 0
        while at - count >= 0 and self._text[at - count] == "\\":
            count += 1
        return count % 2 == 1

    def _push(self, kind: str, length: int, depth: int = 0) -> None:
        program = kind in ("double", "single") and _PROGRAM.search(self._text, *self._before()) is not None
        self._stack.append(_Frame(kind, program, depth))
        self._at += length
        self._word_begins = kind == "command"

    def _before(self) -> tuple[int, int]:
        return max(0, self._at - _PROGRAM_REACH), self._at

    def _pop(self, length: int) -> None:
        # Behind the parenthesis of a subshell, but not of a substitution, a word may begin.
        self._word_begins = self._stack[-1].kind == "command" and self._stack[-1].depth == 1
        if len(self._stack) > 1:
            self._stack.pop()
        self._at += length

    def _skip(self) -> None:
        """Pass a character, and one that it escapes; a mark is never passed."""
        escapes = self._text[self._at] == "\\" and self._text[self._at + 1 : self._at + 2] not in ("", MARK)
        joins_lines = self._text.startswith("\\\n", self._at)
        self._at += 2 if escapes else 1
        self._word_begins = self._word_begins and joins_lines

    def _expansion(self) -> bool:
        """Enter what begins with a dollar sign or a backquote, inside double quotes as outside."""
        begins = self._text.startswith
        if begins("$((", self._at):
            self._push("arithmetic", 3, depth=2)
        elif begins("$(", self._at):
            self._push("command", 2)
        elif begins("${", self._at):
            self._push("brace", 2)
        elif begins("$[", self._at):
            self._lost = True
            self._at += 2
        elif begins("`", self._at):
            self._push("backquote", 1)
        else:
            return False
        return True

    def _command(self) -> None:
        if self._expansion():
            return
        character = self._text[self._at]
        opens = next((text for text in _OPENING if self._text.startswith(text, self._at)), None)
        if opens:
            self._push(_OPENING[opens], len(opens), depth=opens.count("("))
        elif character == "#" and self._word_begins:
            self._push("comment", 1)
        elif character == ")":
            self._pop(1)
        elif self._text.startswith("<<", self._at):
            self._heredoc_operator()
        elif character == "\n":
            self._newline()
        elif character.isspace() or character in ";&|<>":
            self._at += 1
            self._word_begins = True
        else:
            # The lone parentheses of its patterns would be taken for the end of what is around it.
            if self._word_begins and len(self._stack) > 1 and _CASE.match(self._text, self._at):
                self._lost = True
            self._skip()

    def _heredoc_operator(self) -> None:
        if self._text.startswith("<<<", self._at):
            self._at += 3
            return
        found = _HEREDOC.match(self._text, self._at)
        if found is None:
            self._lost = True
            self._at += 2
            return
        delimiter = next(group for group in found.groups() if group)
        strips = self._text.startswith("<<-", self._at)
        self._heredocs.append((delimiter, found[4] is None, strips))
        self._at = found.end()

    def _newline(self) -> None:
        self._at += 1
        self._word_begins = True
        for delimiter, literal, strips in self._heredocs:
            self._heredoc(delimiter, literal, strips)
        self._heredocs = []

    def _heredoc(self, delimiter: str, literal: bool, strips: bool) -> None:
        begin = self._at
        while self._at < len(self._text):
            end = self._text.find("\n", self._at)
            line = self._text[self._at : end if end >= 0 else len(self._text)]
            self._at += len(line) + 1
            if (line.lstrip("\t") if strips else line) == delimiter:
                break
        body = self._text[begin : self._at]
        # An escaped line break joins lines, also with the one that seems to end the document.
        self._lost = self._lost or (not literal and "\\\n" in body)
        where = Where.LITERAL_HEREDOC if literal else Where.HEREDOC
        nested = any(frame.kind != "command" for frame in self._stack)
        if self._lost or nested or (not literal and re.search(r"[$`\\]", body)):
            where = Where.FRAGILE
        dollar = not literal and f"${MARK}" in body
        self._found += [Where.DOLLAR if dollar else where] * body.count(MARK)

    def _double(self) -> None:
        if self._expansion():
            return
        if self._text[self._at] == '"':
            self._pop(1)
        else:
            self._skip()

    def _single(self) -> None:
        if self._text[self._at] == "'":
            self._pop(1)
        else:
            self._at += 1

    def _ansi(self) -> None:
        if self._text[self._at] == "'":
            self._pop(1)
        else:
            self._skip()

    def _comment(self) -> None:
        if self._text[self._at] == "\n":
            self._stack.pop()
        else:
            self._at += 1

    def _fragile(self) -> None:
        """Pass what is in backquotes, `${…}` or arithmetic: only their ends matter, for all of it is fragile."""
        frame, character = self._stack[-1], self._text[self._at]
        if frame.kind == "arithmetic":
            frame.depth += {"(": 1, ")": -1}.get(character, 0)
            self._lost = self._lost or character in "'\"\\"
            if frame.depth == 0:
                self._pop(1)
                return
        elif character == {"backquote": "`", "brace": "}"}[frame.kind]:
            self._pop(1)
            return
        if frame.kind != "backquote" and self._expansion():
            return
        self._lost = self._lost or (frame.kind == "brace" and character == "'")
        if character == '"' and frame.kind == "brace":
            self._push("double", 1)
            return
        self._skip()
