"""`retention --dry-run`: whose files would be deleted, and why all others keep theirs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from datetime import UTC, datetime

from rich.text import Text

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.registeredmodel import RegisteredModel, Retention
from modelyard.cli.errors import CliError
from modelyard.cli.model import Models
from modelyard.cli.output import BAD, GOOD, QUIET, Cell, Column, Output, short_time, styled
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import of_kind
from modelyard.decide.retention import Surroundings, directories, plan, served_by_number
from modelyard.records.events import PurgeStep
from modelyard.records.state import VersionState
from modelyard.registry.objects import REGISTERED_MODELS

_COLUMNS = (
    Column("VERSION"),
    Column("STAGE"),
    Column("ARCHIVED"),
    Column("FILES"),
    Column("WHY", folds=True),
    Column("ARTIFACT", wide=True),
)


def retention(models: Models, output: Output, arguments: Namespace) -> int:
    """Say what `spec.retention`, or what is given in its place, would delete now. Deletes nothing."""
    model = models.get(arguments.model)
    wanted = _wanted(model, arguments)
    state = models.records(arguments.model, model).state
    around = _surroundings(models, output, model)
    found = plan(model, state, wanted, around, datetime.now(UTC))
    versions = sorted(state.versions.values(), key=lambda version: version.version)
    why = {version.version: _why(version, found.purge, found.keep) for version in versions}
    if output.is_json:
        output.json(
            {
                "model": model.model_name,
                "retention": wanted.to_dict(),
                "delete": [{"version": number, "why": said} for number, said in sorted(found.purge.items())],
                "keep": [{"version": number, "why": said} for number, said in why.items() if number not in found.purge],
            }
        )
        return 0
    output.table(
        _COLUMNS, [_row(version, version.version in found.purge, why[version.version]) for version in versions]
    )
    numbers = ", ".join(map(str, sorted(found.purge)))
    output.say(
        f"{_said(wanted)}: the files of {len(found.purge)} of {len(versions)} versions would be deleted"
        + (f": {numbers}" if numbers else "")
    )
    output.note("nothing was deleted; records, numbers and history stay in any case")
    return 0


def _wanted(model: RegisteredModel, arguments: Namespace) -> Retention:
    """Return the spec's retention with what the command line says in its place."""
    given = {
        key: value
        for key, value in (("archived", arguments.archived), ("max_age", arguments.max_age))
        if value is not None
    }
    if not given and model.spec.retention is None:
        raise CliError(f"{model.model_name} has no spec.retention: say --archived or --max-age")
    return Retention.model_validate({**(model.spec.retention or Retention()).model_dump(), **given})


def _surroundings(models: Models, output: Output, model: RegisteredModel) -> Surroundings:
    deployments = models.client.list_all(of_kind(ModelDeployment), models.namespace)
    served = served_by_number(model, map(ModelDeployment.parse, deployments))
    return Surroundings(models.source.artifacts(), served, _elsewhere(models, output, model))


def _elsewhere(models: Models, output: Output, model: RegisteredModel) -> frozenset[str]:
    """Return the directories of other models' versions, as far as the user may see them."""
    try:
        bodies = models.client.list_all(REGISTERED_MODELS)
    except ApiError as error:
        if error.code != 403:
            raise
        output.note(
            "models of other namespaces, which you may not list, are left out of account; the operator asks them"
        )
        bodies = models.client.list_all(REGISTERED_MODELS, models.namespace)
    found: frozenset[str] = frozenset()
    for other in map(RegisteredModel.parse, bodies):
        if other.metadata.uid != model.metadata.uid:
            found |= directories(models.records_of(other).state)
    return found


def _why(version: VersionState, purge: Mapping[int, str], keep: Mapping[int, str]) -> str:
    number = version.version
    if number in purge or number in keep:
        return purge.get(number) or keep[number]
    if version.purge == PurgeStep.DELETED:
        return "its files were deleted already"
    if not version.artifact:
        return "it has no files"
    return "it is not archived"


def _row(version: VersionState, goes: bool, why: str) -> list[Cell]:
    gone = version.purge == PurgeStep.DELETED
    files = Text("deleted", QUIET) if gone else Text("DELETE", BAD) if goes else Text("keep", GOOD)
    stage = Text("deleted", QUIET) if version.deleted else styled(version.stage)
    return [str(version.version), stage, short_time(version.archived_at or ""), files, why, version.artifact]


def _said(wanted: Retention) -> str:
    """Return the rule in words."""
    rules = []
    if wanted.archived is not None:
        rules.append(f"only the newest {wanted.archived}" if wanted.archived else "none")
    if wanted.max_age is not None:
        rules.append(f"none longer than {wanted.max_age}")
    return f"of archived versions, {' and '.join(rules) or 'all'} keep their files"
