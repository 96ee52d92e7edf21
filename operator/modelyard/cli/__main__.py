"""The commands `modelyard` and `kubectl-modelyard`, which kubectl finds as `kubectl modelyard`."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from modelyard.api.stages import STAGE_KEYS
from modelyard.artifacts.store import ArtifactError
from modelyard.cli.edit import approve, promote
from modelyard.cli.errors import ALTERED, REFUSED, CliError
from modelyard.cli.evidence import evidence
from modelyard.cli.history import parse_time
from modelyard.cli.model import Models
from modelyard.cli.output import Format, Output
from modelyard.cli.retention import retention
from modelyard.cli.show import history, verify, versions
from modelyard.cli.sources import find_source
from modelyard.cluster.client import ApiError
from modelyard.cluster.user import NoConnection, connect
from modelyard.registry.ledger import RecordsAltered
from modelyard.registry.objects import RegistryError
from modelyard.settings import SettingsError, git_managers

Command = Callable[[Models, Output, Namespace], int]

_EPILOG = """\
Records are read from the artifact store where MODELYARD_ARTIFACT_STORE names it (with MODELYARD_S3_ENDPOINT and
AWS_* credentials), else from the operator, through the API server. Exit codes: 0 done; 1 not done, or refused;
2 the command line makes no sense; 3 a record or a file is not the one that was written.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    given = _parser().parse_args(arguments)
    output = Output(Format(given.output))
    try:
        return _run(given, output)
    except CliError as error:
        output.error(str(error))
        return error.code
    except RecordsAltered as error:
        output.error(str(error))
        return ALTERED
    except (ApiError, ArtifactError, NoConnection, RegistryError, SettingsError) as error:
        output.error(str(error))
        return REFUSED
    except BrokenPipeError:
        # Whoever read has seen enough; Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _run(given: Namespace, output: Output) -> int:
    connection = connect(given.kubeconfig, given.context)
    client = connection.client
    models = Models(
        client,
        given.namespace or connection.namespace,
        lambda: find_source(client, os.environ, given.operator_namespace),
    )
    command: Command = given.command
    return command(models, output, given)


def _parser() -> ArgumentParser:
    name = Path(sys.argv[0]).name
    parser = ArgumentParser(
        prog="kubectl modelyard" if name == "kubectl-modelyard" else "modelyard",
        description="A model registry's history, versions and promotions.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _history(commands.add_parser("history", help="who moved which version where and when, and what was refused"))
    _verify(commands.add_parser("verify", help="check that no record was altered, removed or put in later"))
    _versions(commands.add_parser("versions", help="the versions, their stages and what the gates said"))
    _evidence(commands.add_parser("evidence", help="what a gate's Job printed, as the records know it"))
    _promote(commands.add_parser("promote", help="ask for a version in a stage, and wait for the verdict"))
    _approve(commands.add_parser("approve", help="approve a version for a stage"))
    _retention(commands.add_parser("retention", help="whose files retention would delete, and why the rest stays"))
    return parser


def _common(parser: ArgumentParser, command: Command) -> None:
    parser.set_defaults(command=command)
    parser.add_argument("model", metavar="MODEL", help="the model's name in MLflow, or its object's")
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
    parser.epilog = _EPILOG


def _history(parser: ArgumentParser) -> None:
    _common(parser, history)
    parser.add_argument("--at", type=_time, metavar="TIME", help="what was in which stage then: 2026-01-15T12:00Z")
    parser.add_argument("--stage", choices=STAGE_KEYS, help="with --at: this stage only")
    parser.add_argument("--since", type=_time, metavar="TIME", help="only what happened since")
    parser.add_argument("--version", type=_positive, help="only what happened to this version")
    parser.add_argument("--all", action="store_true", help="registrations, edits and deletions, too")


def _verify(parser: ArgumentParser) -> None:
    _common(parser, verify)
    parser.add_argument(
        "--artifacts", action="store_true", help="read every version's files, too; needs MODELYARD_ARTIFACT_STORE"
    )


def _versions(parser: ArgumentParser) -> None:
    _common(parser, versions)


def _evidence(parser: ArgumentParser) -> None:
    _common(parser, evidence)
    parser.add_argument("name", metavar="NAME", nargs="?", help="as a gate's message has it; default: list them")


def _promote(parser: ArgumentParser) -> None:
    def with_git_managers(models: Models, output: Output, given: Namespace) -> int:
        return promote(models, output, given, git_managers(os.environ))

    _common(parser, with_git_managers)
    parser.add_argument("version", type=_positive, metavar="VERSION")
    parser.add_argument("--stage", choices=STAGE_KEYS, default="production", help="default: production")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the verdict")
    parser.add_argument(
        "--timeout", type=_seconds, default=300.0, metavar="SECONDS", help="how long to wait; default: 300"
    )


def _approve(parser: ArgumentParser) -> None:
    _common(parser, approve)
    parser.add_argument("version", type=_positive, metavar="VERSION")
    parser.add_argument("--stage", choices=STAGE_KEYS, default="production", help="default: production")
    parser.add_argument("--group", help="the group of yours that approves; default: the gate's that you are in")
    parser.add_argument("--comment", help="kept in the Approval")


def _retention(parser: ArgumentParser) -> None:
    _common(parser, retention)
    parser.add_argument("--archived", type=_natural, metavar="N", help="as if spec.retention.archived were this")
    parser.add_argument("--max-age", type=_age, metavar="AGE", help="as if spec.retention.maxAge were this: 180d")
    parser.add_argument("--dry-run", action="store_true", required=True, help="say it; only the operator deletes")


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no time: write 2026-01-15, or 2026-01-15T12:00Z") from error


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no version number")
    return int(text)


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is no count")
    return int(text)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no number of seconds") from error


def _age(text: str) -> str:
    if not text[:-1].isdigit() or text[-1:] not in ("h", "d", "w"):
        raise ArgumentTypeError(f"{text!r} is no age: write 12h, 180d or 26w")
    return text


if __name__ == "__main__":
    sys.exit(main())
