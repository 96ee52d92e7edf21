"""`clean-up --dry-run`: which runs retention would delete, which would lose their artifacts, and why the rest stays."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rich.text import Text

from modelyard.api.experiment import Experiment, ExperimentRetention
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cli.errors import CliError
from modelyard.cli.experiments import Experiments
from modelyard.cli.model import Models
from modelyard.cli.output import BAD, GOOD, QUIET, Cell, Column, Output, short_time, styled
from modelyard.cli.tracking import Tracking
from modelyard.cluster.client import ApiError
from modelyard.decide.conditions import timestamp
from modelyard.decide.experiment_model import EXPERIMENT_TAG, Run
from modelyard.decide.run_retention import (
    ARTIFACTS_TAG,
    Deletions,
    Registered,
    own_runs,
    protection,
    to_delete,
)
from modelyard.registry.objects import REGISTERED_MODELS

_COLUMNS = (
    Column("RUN"),
    Column("NAME"),
    Column("ENDED"),
    Column("VALUE", optional=True),
    Column("RUN STAYS"),
    Column("ARTIFACTS"),
    Column("WHY", folds=True),
)
_NAME_LIMIT = 40
_AT_ONCE = 25
"""How many runs' ids an address has room for."""


def clean_up(models: Models, experiments: Experiments, output: Output, arguments: Namespace) -> int:
    """Say what `spec.retention`, or what is given in its place, would delete now. Deletes nothing."""
    experiment = experiments.get(arguments.experiment)
    wanted = _wanted(experiment, arguments)
    tracking = experiments.reach()
    runs = _runs(tracking, experiment)
    protected = protection(experiment, runs, _versions(models, output))
    now = experiments.clock()
    found = to_delete(runs, wanted, experiment.spec.objective, protected, now)
    also = _known_to_mlflow(tracking, found)
    if also:
        protected |= also
        found = to_delete(runs, wanted, experiment.spec.objective, protected, now)
    why = _reasons(runs, found, protected)
    if output.is_json:
        output.json(_to_json(experiment, wanted, runs, found, why))
        return 0
    newest = sorted(runs, key=lambda run: run.start_time, reverse=True)
    going = {each.run.run_id for each in found.runs}
    losing = {each.run.run_id for each in found.artifacts}
    shown = newest if arguments.all else [run for run in newest if run.run_id in going | losing]
    if shown:
        output.table(_COLUMNS, [_row(experiment, run, going, losing, why) for run in shown])
    output.say(
        f"{_said(wanted)}: {len(going)} of {len(runs)} runs would be deleted, and {len(losing)} others would lose "
        "their artifacts"
    )
    if len(shown) < len(runs):
        output.note(f"why the other {len(runs) - len(shown)} stay: --all")
    output.note("nothing was deleted; only the operator deletes")
    return 0


def _wanted(experiment: Experiment, arguments: Namespace) -> ExperimentRetention:
    """Return the spec's retention with what the command line says in its place."""
    given = {
        key: value
        for key, value in (
            ("max_runs", arguments.max_runs),
            ("max_age", arguments.max_age),
            ("keep_best", arguments.keep_best),
        )
        if value is not None
    }
    before = experiment.spec.retention
    if before is None and not (given.keys() - {"keep_best"}):
        raise CliError(
            f"{experiment.metadata.name} has no spec.retention, so that nothing is ever deleted: say --max-runs or "
            "--max-age to see what that would do"
        )
    return ExperimentRetention.model_validate({**(before.model_dump() if before else {}), **given})


def _runs(tracking: Tracking, experiment: Experiment) -> tuple[Run, ...]:
    """Return all runs that are the Experiment's."""
    metadata, experiment_id = experiment.metadata, experiment.status.experiment_id
    if experiment_id is None:
        return ()
    tags = {EXPERIMENT_TAG: f"{metadata.namespace}/{metadata.name}"} if experiment.spec.project else {}
    return own_runs(experiment, tracking.client.search_runs(experiment_id, tags))


def _versions(models: Models, output: Output) -> Iterator[Registered]:
    """Give the registered versions, as far as the user may see them."""
    try:
        bodies = models.client.list_all(REGISTERED_MODELS)
    except ApiError as error:
        if error.code not in (401, 403):
            raise
        output.note(
            "models of other namespaces, which you may not list, are left out of account; the operator asks them"
        )
        bodies = models.client.list_all(REGISTERED_MODELS, models.namespace)
    for model in map(RegisteredModel.parse, bodies):
        where = model.metadata.namespace
        for version in models.records_of(model).state.shown:
            places = (version.source, version.artifact, f"/{version.model_id or ''}")
            yield Registered(f"version {version.version} of {model.model_name} in {where}", version.run_id, places)


def _known_to_mlflow(tracking: Tracking, found: Deletions) -> dict[str, str]:
    """Return those of the runs that the tracking server's registry has versions of."""
    going = [each.run.run_id for each in (*found.runs, *found.artifacts)]
    known: dict[str, str] = {}
    for start in range(0, len(going), _AT_ONCE):
        known |= tracking.client.registered_versions(going[start : start + _AT_ONCE])
    return {run_id: f"it is the run of {version}" for run_id, version in known.items()}


def _reasons(runs: tuple[Run, ...], found: Deletions, protected: Mapping[str, str]) -> dict[str, str]:
    """Return why each run goes, or stays."""
    why = {run.run_id: _stays(run, protected) for run in runs}
    why |= {each.run.run_id: each.why for each in (*found.artifacts, *found.runs)}
    return why


def _stays(run: Run, protected: Mapping[str, str]) -> str:
    if run.run_id in protected:
        return protected[run.run_id]
    return "it is within the limits, among the best, or above a run that stays" if run.ended else "it has not ended"


def _row(experiment: Experiment, run: Run, going: set[str], losing: set[str], why: Mapping[str, str]) -> list[Cell]:
    goes = run.run_id in going
    artifacts = Text("DELETE", BAD) if goes or run.run_id in losing else Text("keep", GOOD)
    if ARTIFACTS_TAG in run.tags and not goes:
        artifacts = Text("deleted", QUIET)
    objective = experiment.spec.objective
    value = run.metrics.get(objective.metric) if objective else None
    name = run.name if len(run.name) <= _NAME_LIMIT else run.name[: _NAME_LIMIT - 1] + "…"
    return [
        run.run_id,
        name,
        short_time(timestamp(datetime.fromtimestamp(run.end_time / 1000, UTC))) if run.end_time else "",
        "" if value is None else f"{value:.6g}",
        Text("DELETE", BAD) if goes else styled("keep"),
        artifacts,
        why[run.run_id],
    ]


def _said(wanted: ExperimentRetention) -> str:
    """Return the rule in words."""
    rules = _limits(wanted.max_runs, wanted.max_age)
    said = [f"runs stay{rules}"] if rules else []
    if wanted.artifacts:
        said.append(f"artifacts{_limits(wanted.artifacts.max_runs, wanted.artifacts.max_age)}")
    said.append(f"the best {wanted.keep_best} in any case" if wanted.keep_best else "also the best go")
    return ", ".join(said)


def _limits(runs: int | None, age: str | None) -> str:
    rules = [f"the newest {runs}"] if runs is not None else []
    rules += [f"not longer than {age}"] if age is not None else []
    return f" ({' and '.join(rules)})" if rules else ""


def _to_json(
    experiment: Experiment,
    wanted: ExperimentRetention,
    runs: tuple[Run, ...],
    found: Deletions,
    why: Mapping[str, str],
) -> dict[str, object]:
    gone = {each.run.run_id for each in found.runs}
    return {
        "name": experiment.metadata.name,
        "namespace": experiment.metadata.namespace,
        "retention": wanted.to_dict(),
        "delete": [{"runId": each.run.run_id, "name": each.run.name, "why": each.why} for each in found.runs],
        "deleteArtifacts": [
            {"runId": each.run.run_id, "name": each.run.name, "why": each.why} for each in found.artifacts
        ],
        "keep": [
            {"runId": run.run_id, "name": run.name, "why": why[run.run_id]} for run in runs if run.run_id not in gone
        ],
    }
