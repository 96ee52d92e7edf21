"""What the command lines have in common, and the types of their arguments."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from typing import Any

from modelyard.cli.history import parse_time
from modelyard.cli.output import Format

EPILOG = """\
Runs are read from the tracking server that MLFLOW_TRACKING_URI names, else from the installation's, through the API
server. Records are read from the artifact store where MODELYARD_ARTIFACT_STORE names it (with MODELYARD_S3_ENDPOINT and
AWS_* credentials), else from the operator, through the API server. Exit codes: 0 done; 1 not done, or refused;
2 the command line makes no sense; 3 a record or a file is not the one that was written.
"""


class CommandParser(ArgumentParser):
    """Takes options between positional arguments, too: `promote churn -n team 3`.

    argparse itself gives an optional positional argument nothing where an option stands before it.
    """

    _within = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as `parse_known_intermixed_args` does, which calls this in turn."""
        if self._within:
            return super().parse_known_args(args, namespace)
        self._within = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._within = False


def common(
    parser: ArgumentParser,
    command: Callable[..., int],
    positional: tuple[str, str] = ("model", "the model's name in MLflow, or its object's"),
) -> None:
    """Add what every command has: what it is about, the connection, and the form of what it writes."""
    name, words = positional
    parser.set_defaults(command=command)
    parser.add_argument(name, metavar=name.upper(), help=words)
    parser.add_argument("-n", "--namespace", help="default: the context's")
    parser.add_argument("--kubeconfig", metavar="FILE", help="default: KUBECONFIG, then ~/.kube/config")
    parser.add_argument("--context", help="the kubeconfig's context; default: the current one")
    parser.add_argument(
        "--operator-namespace",
        metavar="NAMESPACE",
        help="where the operator runs, which gives the records; default: MODELYARD_OPERATOR_NAMESPACE, then a search",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=[each.value for each in Format],
        default=Format.TABLE.value,
        help="table (the default), wide (more columns) or json",
    )
    parser.epilog = EPILOG


def waiting(parser: ArgumentParser) -> None:
    """Add how long to wait for a verdict."""
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the verdict")
    parser.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="SECONDS", help="how long to wait; default: 300"
    )


def moment(text: str) -> datetime:
    """Read a time. Raises `ArgumentTypeError`, as all of these do."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no time: write 2026-01-15, or 2026-01-15T12:00Z") from error


def positive(text: str) -> int:
    """Read a version number."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no version number")
    return int(text)


def natural(text: str) -> int:
    """Read a count."""
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is no count")
    return int(text)


def seconds(text: str) -> float:
    """Read a number of seconds."""
    try:
        return float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no number of seconds") from error


def number(text: str) -> float:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no number") from error
    if not math.isfinite(value):
        raise ArgumentTypeError(f"{text!r} is no finite number")
    return value


def age(text: str) -> str:
    """Read an age, as `spec.retention.maxAge` has it."""
    if not text[:-1].isdigit() or text[-1:] not in ("h", "d", "w"):
        raise ArgumentTypeError(f"{text!r} is no age: write 12h, 180d or 26w")
    return text
