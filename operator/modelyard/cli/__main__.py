"""The commands `modelyard` and `kubectl-modelyard`, which kubectl finds as `kubectl modelyard`."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from modelyard.api.stages import STAGE_KEYS
from modelyard.artifacts.store import ArtifactError
from modelyard.cli import arguments as types
from modelyard.cli.arguments import EPILOG, CommandParser, common, waiting
from modelyard.cli.clean_up import clean_up
from modelyard.cli.deployments import Deployments
from modelyard.cli.edit import approve, promote
from modelyard.cli.errors import ALTERED, REFUSED, USAGE, CliError
from modelyard.cli.evidence import evidence
from modelyard.cli.experiments import Experiments
from modelyard.cli.model import Models
from modelyard.cli.output import Format, Output
from modelyard.cli.reproduce import reproduce
from modelyard.cli.retention import retention
from modelyard.cli.rollback import rollback
from modelyard.cli.run import resume as resume_experiment
from modelyard.cli.run import run, suspend
from modelyard.cli.runs import runs
from modelyard.cli.show import history, verify, versions
from modelyard.cli.sources import find_source
from modelyard.cli.status import status
from modelyard.cli.steer import abort, go_on, pause, refresh, resume
from modelyard.cli.tracking import find_tracking
from modelyard.cluster.client import ApiError
from modelyard.cluster.user import NoConnection, connect
from modelyard.decide.rollout import is_paused
from modelyard.registry.ledger import RecordsAltered
from modelyard.registry.objects import RegistryError
from modelyard.settings import SettingsError, git_managers
from modelyard.tracking.client import TrackingError

Command = Callable[[Models, Output, Namespace], int]

_EXPERIMENT = ("experiment", "the Experiment's name")
_DEPLOYMENT = ("deployment", "the ModelDeployment's name")


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
    except (ApiError, ArtifactError, NoConnection, RegistryError, SettingsError, TrackingError) as error:
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
        description="Experiments and their runs; a model registry's history, versions and promotions; and the rollouts "
        "that these start.",
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=CommandParser)
    _runs(commands.add_parser("runs", help="an experiment's trials and its objective's curve, live while it runs"))
    _run_once(commands.add_parser("run", help="have an experiment run once more"))
    common(
        commands.add_parser("suspend", help="start no trial of an experiment, until it is resumed"),
        _of_experiments(suspend),
        _EXPERIMENT,
    )
    _reproduce(commands.add_parser("reproduce", help="run again what a run ran, and compare what comes of it"))
    _clean_up(commands.add_parser("clean-up", help="which runs retention would delete, and why the rest stays"))
    _history(commands.add_parser("history", help="who moved which version where and when, and what was refused"))
    _verify(commands.add_parser("verify", help="check that no record was altered, removed or put in later"))
    _versions(commands.add_parser("versions", help="the versions, their stages and what the gates said"))
    _evidence(
        commands.add_parser(
            "evidence", help="what a gate's Job printed, or one that prepared a version found, as the records know it"
        )
    )
    _promote(commands.add_parser("promote", help="ask for a version in a stage; or let a held rollout go on"))
    _approve(commands.add_parser("approve", help="approve a version for a stage"))
    _retention(commands.add_parser("retention", help="whose files retention would delete, and why the rest stays"))
    _status(commands.add_parser("status", help="what a deployment serves, and how its rollout stands"))
    for command, words in (
        (abort, "take back the version that is rolling out"),
        (pause, "have nothing of a deployment changed"),
        (refresh, "have the pods made anew, by the operator that is installed now"),
    ):
        common(commands.add_parser(command.__name__, help=words), _of_deployments(command), _DEPLOYMENT)
    common(
        commands.add_parser("resume", help="end a deployment's pause, or an experiment's suspension"),
        _resumed,
        ("name", "a ModelDeployment's (md/NAME) or an Experiment's (exp/NAME)"),
    )
    _rollback(commands.add_parser("rollback", help="ask for the version before the present one"))
    return parser


def _deployments(models: Models) -> Deployments:
    return Deployments(models.client, models.namespace, git_managers(os.environ))


def _experiments(models: Models, operator_namespace: str | None = None) -> Experiments:
    client = models.client
    return Experiments(
        client,
        models.namespace,
        lambda: find_tracking(client, os.environ, operator_namespace),
        git_managers(os.environ),
    )


def _of_experiments(command: Callable[[Experiments, Output, Namespace], int]) -> Command:
    return lambda models, output, given: command(_experiments(models, given.operator_namespace), output, given)


def _of_deployments(command: Callable[[Deployments, Output, Namespace], int]) -> Command:
    return lambda models, output, given: command(_deployments(models), output, given)


def _resumed(models: Models, output: Output, given: Namespace) -> int:
    """End a deployment's pause or an experiment's suspension, whichever of the two has that name."""
    deployments, experiments = _deployments(models), _experiments(models)
    experiment = None if deployments.is_named(given.name) else experiments.find(given.name)
    deployment = None if experiments.is_named(given.name) else deployments.find(given.name)
    if experiment and deployment and experiment.spec.suspend == is_paused(deployment):
        raise CliError(
            f"there are a model deployment and an experiment {given.name!r}: say md/{given.name} or exp/{given.name}"
        )
    named = deployments.is_named(given.name) or experiments.is_named(given.name)
    if not (experiment or deployment or named):
        raise CliError(
            f"there is neither a model deployment nor an experiment {given.name!r} in namespace {models.namespace}"
        )
    if experiments.is_named(given.name) or (experiment and (deployment is None or experiment.spec.suspend)):
        return resume_experiment(experiments, output, Namespace(experiment=given.name))
    return resume(deployments, output, Namespace(deployment=given.name))


def _runs(parser: ArgumentParser) -> None:
    common(parser, _of_experiments(runs), _EXPERIMENT)
    parser.add_argument("-w", "--watch", action="store_true", help="go on looking until it has ended, in a pipe, too")
    parser.add_argument("--once", action="store_true", help="look once, on a terminal, too")
    parser.add_argument("--all", action="store_true", help="every trial, and every failure in full")
    parser.add_argument("--execution", metavar="ID", help="one of before; default: the present one")


def _run_once(parser: ArgumentParser) -> None:
    common(parser, _of_experiments(run), _EXPERIMENT)
    parser.add_argument("--wait", action="store_true", help="until it has succeeded (exit code 0) or failed (1)")
    parser.add_argument("--timeout", type=types.seconds, metavar="SECONDS", help="how long to --wait; default: forever")


def _reproduce(parser: ArgumentParser) -> None:
    common(parser, _of_experiments(reproduce), ("run", "a run's id, or EXPERIMENT/TRIAL, or EXPERIMENT/best"))
    parser.add_argument(
        "--wait", action=BooleanOptionalAction, default=True, help="until it has ended, and compare; the default"
    )
    parser.add_argument("--timeout", type=types.seconds, metavar="SECONDS", help="how long to wait; default: forever")
    parser.add_argument(
        "--tolerance", type=types.number, default=0.0, metavar="T", help="a difference of up to T is none; default: 0"
    )
    parser.add_argument("--metric", action="append", metavar="NAME", help="compare only this one; may be repeated")
    parser.add_argument(
        "--parameter", action="append", metavar="NAME", help="a parameter that was given then, too; may be repeated"
    )


def _clean_up(parser: ArgumentParser) -> None:
    common(
        parser,
        lambda models, output, given: clean_up(models, _experiments(models, given.operator_namespace), output, given),
        _EXPERIMENT,
    )
    parser.add_argument("--max-runs", type=types.natural, metavar="N", help="as if spec.retention.maxRuns were this")
    parser.add_argument("--max-age", type=types.age, metavar="AGE", help="as if spec.retention.maxAge were this: 90d")
    parser.add_argument("--keep-best", type=types.natural, metavar="N", help="as if spec.retention.keepBest were this")
    parser.add_argument("--all", action="store_true", help="also the runs that stay, and why")
    parser.add_argument("--dry-run", action="store_true", required=True, help="say it; only the operator deletes")


def _history(parser: ArgumentParser) -> None:
    common(parser, history)
    parser.add_argument(
        "--at", type=types.moment, metavar="TIME", help="what was in which stage then: 2026-01-15T12:00Z"
    )
    parser.add_argument("--stage", choices=STAGE_KEYS, help="with --at: this stage only")
    parser.add_argument("--since", type=types.moment, metavar="TIME", help="only what happened since")
    parser.add_argument("--version", type=types.positive, help="only what happened to this version")
    parser.add_argument("--all", action="store_true", help="registrations, edits and deletions, too")


def _verify(parser: ArgumentParser) -> None:
    common(parser, verify)
    parser.add_argument(
        "--artifacts", action="store_true", help="read every version's files, too; needs MODELYARD_ARTIFACT_STORE"
    )


def _versions(parser: ArgumentParser) -> None:
    common(parser, versions)


def _evidence(parser: ArgumentParser) -> None:
    common(parser, evidence)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="as a gate's message has it, or prepare-….json; default: list them"
    )


def _promote(parser: ArgumentParser) -> None:
    common(parser, _promoted, ("name", "with VERSION a model, without it a ModelDeployment whose rollout is held"))
    parser.add_argument("version", type=types.positive, nargs="?", metavar="VERSION")
    parser.add_argument("--stage", choices=STAGE_KEYS, help="with VERSION; default: production")
    parser.add_argument(
        "--full", action="store_true", help="without VERSION: to all of the requests, without further pause or analysis"
    )
    waiting(parser)


def _promoted(models: Models, output: Output, given: Namespace) -> int:
    """Promote a version of a model, or let a deployment's rollout go on."""
    if given.version is None:
        if given.stage is not None or given.no_wait:
            raise CliError("--stage and --no-wait belong to a VERSION", USAGE)
        return go_on(_deployments(models), output, Namespace(deployment=given.name, full=given.full))
    if given.full:
        raise CliError("--full belongs to a ModelDeployment whose rollout is under way: leave VERSION out", USAGE)
    asked = {**vars(given), "model": given.name, "stage": given.stage or "production"}
    return promote(models, output, Namespace(**asked), git_managers(os.environ))


def _approve(parser: ArgumentParser) -> None:
    common(parser, approve)
    parser.add_argument("version", type=types.positive, metavar="VERSION")
    parser.add_argument("--stage", choices=STAGE_KEYS, default="production", help="default: production")
    parser.add_argument("--group", help="the group of yours that approves; default: the gate's that you are in")
    parser.add_argument("--comment", help="kept in the Approval")


def _retention(parser: ArgumentParser) -> None:
    common(parser, retention)
    parser.add_argument("--archived", type=types.natural, metavar="N", help="as if spec.retention.archived were this")
    parser.add_argument("--max-age", type=types.age, metavar="AGE", help="as if spec.retention.maxAge were this: 180d")
    parser.add_argument("--dry-run", action="store_true", required=True, help="say it; only the operator deletes")


def _status(parser: ArgumentParser) -> None:
    common(parser, _of_deployments(status), _DEPLOYMENT)
    parser.add_argument("-w", "--watch", action="store_true", help="go on looking, every 2 seconds, until Ctrl-C")
    parser.add_argument(
        "--wait", action="store_true", help="until the wanted version is served (exit code 0) or given up (1)"
    )
    parser.add_argument(
        "--timeout", type=types.seconds, default=600.0, metavar="SECONDS", help="how long to --wait; default: 600"
    )


def _rollback(parser: ArgumentParser) -> None:
    common(parser, lambda models, output, given: rollback(models, _deployments(models), output, given), _DEPLOYMENT)
    parser.add_argument(
        "--to", type=types.positive, metavar="VERSION", help="default: the one before, as far as it is known"
    )
    waiting(parser)


if __name__ == "__main__":
    sys.exit(main())
