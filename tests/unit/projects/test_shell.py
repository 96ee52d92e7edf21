"""Filled-in commands, run by a real bash: each value arrives as it is, or the place is refused."""

from __future__ import annotations

import os
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelyard.projects.shell import MARK, Unfit, fill

HOSTILE = [
    "a b", "$(touch hit)", "`touch hit`", "${HOME}", "'; touch hit #", '"; touch hit; "', "it's", "\\", "\\'", "a\nb",
    "\ntouch hit\n", ")", "}", "*", "~", "!x", "a[$(touch hit)]", "EOF\ntouch hit", "-n", "é漢 ", "", "\t", "$",
    "&& touch hit",
]  # fmt: skip

WORDS = [
    "show @",
    "show --x=@ y",
    'show "@"',
    'show "--x=@"',
    "show '@'",
    "show 'a'@'b'",
    'show a"@"b\'@\'c@',
    'show "$(printf %s @)"',
    'show "$(printf %s "@")"',
    "show $(printf %s \"$(printf %s '@')\")",
    "(show @); (show '@')#it's",
    "show a && { show @; }",
    "show 1 # it's \"quoted\"\nshow @",
    "show a\\\nb # it's\nshow @",
    "show \\' @ \\\" @",
    'show "\\"@\\"" @',
    'show "a$" @',
    "show $'a\\'b' @",
    "show \"${HOME:+x}\" @; show $((1 + (2))) '@'",
    "show `echo it` @",
    "cat <<EOF\nit's\nEOF\nshow @",
    "cat <<'EOF' ; show @\n\"\nEOF\nshow '@'",
    "cat <<-EOF\n\tit's\n\tEOF\nshow @",
    "show <<<x @",
    "f() { show \"$1\"; }; f @",
    "for x in @ b; do show \"$x\"; done",
    "case @ in a) show '@';; esac; show @",
    "x=@; show \"$x\"",
    "x=(@ '@'); show \"${x[*]}\"",
    "if [[ b == @ ]]; then :; fi; show @",
]  # fmt: skip

SHOW = 'show() { printf "%s\\0" "$@"; }\n'


def run(command: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}
    return subprocess.run(
        ["bash", "-c", SHOW + command], capture_output=True, cwd=directory, env=environment, timeout=20, check=False
    )


def filled(template: str, value: str) -> str:
    return fill(template.replace("@", MARK), [value] * template.count("@"))


@cache
def shown(template: str) -> bytes:
    """What a command shows for a value that needs no quotes."""
    return run(filled(template, "STANDIN"), Path("/")).stdout


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_arrives_as_it_is_in_every_place_of_a_word(value: str, tmp_path: Path) -> None:
    for template in WORDS:
        command = filled(template, value)
        arrives = value.rstrip("\n") if "$(printf" in template else value
        expected = shown(template).replace(b"STANDIN", arrives.encode())
        ran = run(command, tmp_path)
        assert not (tmp_path / "hit").exists(), command
        if template.startswith("show $(") or "case" in template:
            continue  # What is outside quotes there is split into words, or compared: only evaluation matters.
        assert (ran.stdout, ran.stderr) == (expected, b""), command


REFUSED = [
    "show `echo @`",
    'show "`echo @`"',
    "show ${x:-@}",
    "show \"${x:-'@'}\"",
    "show $((@ + 1))",
    "((x = @)); show",
    "show $'@'",
    "show \\@",
    'show "\\@"',
    "show $[@]",
    "show a$@",
    'show "a$@"',
    "cat <<EOF\n$(echo '@')\nEOF",
    "cat <<EOF\n$@\nEOF",
    "cat <<@\nx\n@",
    "show $(case a in a) echo '@';; esac)",
    "show \"$(case a in a) echo '@';; esac)\"",
]


@pytest.mark.parametrize("template", REFUSED)
@pytest.mark.parametrize("value", ["$(touch hit)", "`touch hit`", "'; touch hit; '"])
def test_a_place_that_no_quoting_helps_is_refused(template: str, value: str) -> None:
    with pytest.raises(Unfit, match="it stands"):
        filled(template, value)


@pytest.mark.parametrize("template", [template for template in REFUSED if "$@" not in template])
def test_a_value_that_needs_no_quotes_is_taken_there(template: str) -> None:
    assert filled(template, "12.5") == template.replace("@", "12.5")


@pytest.mark.parametrize(
    ("template", "value", "command"),
    [
        ("show 1 # @", "a b", "show 1 # 'a b'"),
        ("show 1 # @", "a\nb", None),
        ("cat <<EOF\n@\nEOF", "a b", "cat <<EOF\n'a b'\nEOF"),
        ("cat <<EOF\n@\nEOF", "$HOME", None),
        ("cat <<'EOF'\n@\nEOF", "$HOME", "cat <<'EOF'\n'$HOME'\nEOF"),
        ("cat <<'EOF'\n@\nEOF", "x\nEOF\ntouch hit", None),
    ],
)
def test_comments_and_here_documents_have_what_mlflow_puts_there_where_it_is_harmless(
    template: str, value: str, command: str | None
) -> None:
    if command is None:
        with pytest.raises(Unfit):
            filled(template, value)
    else:
        assert filled(template, value) == command


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_another_interpreters_program_has_the_value_as_a_word_of_its_own(
    value: str, quote: str, tmp_path: Path
) -> None:
    """Else `bash -c "python train.py {x}"` would evaluate what bash did not."""
    template = f"bash -c {quote}printf %s. @{quote}"
    ran = run(filled(template, value), tmp_path)
    assert not (tmp_path / "hit").exists()
    assert (ran.stdout.decode(), ran.stderr) == (f"{value}.", b"")


@pytest.mark.parametrize("value", ["a b", "x", "1;2"])
def test_a_program_in_double_quotes_has_the_text_that_mlflow_puts_there(value: str) -> None:
    assert filled('python -c "print(@)"', value) == f'python -c "print({shlex.quote(value)})"'


PIECES = [
    "show ", "a", " ", "@", "'", '"', "\\", "`", "$(", ")", "(", "((", "${x:-", "}", "$'", "$", "#", "\n", "; ",
    "<<E\n", "\nE\n", "<<'E'\n", "case x in x) ", " esac", "&& ", "[[ ", " ]]", "{ ", "<<<", "\\\n",
]  # fmt: skip
# Each of these does harm where the shell reads it as its own text, and none where it is one word, or split into words.
HARMFUL = ["$(touch hit)", "`touch hit`", "'; touch hit #", '"; touch hit; "', "a[$(touch hit)]", "E\ntouch hit"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).map("".join), st.sampled_from(HARMFUL))
@example("show $(case a in a) show '@';; esac) '@'", "'; touch hit #")
def test_whatever_the_command_nothing_of_a_value_is_run(
    tmp_path_factory: pytest.TempPathFactory, template: str, value: str
) -> None:
    directory = tmp_path_factory.mktemp("run")
    try:
        command = filled(template, value)
    except Unfit:
        return
    run(command, directory)
    assert not (directory / "hit").exists(), command
