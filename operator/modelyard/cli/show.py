"""`history`, `versions` and `verify`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from modelyard.api.gates import GateResult, GateVerdict
from modelyard.api.model_status import VersionStatus
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import ASSIGNABLE, STAGE_KEYS
from modelyard.artifacts.store import ArtifactMissing
from modelyard.cli.errors import ALTERED, CliError
from modelyard.cli.history import Row, Wanted, entered, event_json, rows, state_at
from modelyard.cli.model import Models, Records
from modelyard.cli.output import BAD, QUIET, Cell, Column, Output, short_digest, short_time, styled
from modelyard.cli.sources import StoreSource, Unavailable
from modelyard.records.events import PromotionRefused, StagesChanged
from modelyard.records.state import ModelState, VersionState

Json = dict[str, Any]

_STAGES = (
    Column("STAGE"),
    Column("VERSION"),
    Column("SINCE"),
    Column("BY"),
    Column("REVISION", optional=True),
    Column("RUN", optional=True),
    Column("DIGEST"),
    Column("ARTIFACT", wide=True),
)
_HISTORY = (
    Column("#"),
    Column("WHEN"),
    Column("VERSION"),
    Column("FROM"),
    Column("TO"),
    Column("BY"),
    Column("REVISION", optional=True),
    Column("GATES", folds=True, optional=True),
    Column("WHAT", wide=True),
)


def history(models: Models, output: Output, arguments: Namespace) -> int:
    """Show what happened, or with `--at` what was the case."""
    model = models.find(arguments.model)
    try:
        records = models.records(arguments.model, model)
    except Unavailable as error:
        if model is None or arguments.at is not None:
            raise
        output.note(
            f"{error}\nThese are the newest transitions that the object's status holds, "
            "without refusals and numbers; the chain of records was not checked."
        )
        _transitions(output, model, Wanted(arguments.since, arguments.version))
        return 0
    if arguments.at is not None:
        return _history_at(output, records, arguments.at, arguments.stage)
    wanted = Wanted(arguments.since, arguments.version, arguments.all)
    found = [row for row in rows([*records.earlier, *records.events]) if wanted.includes(row)]
    if output.is_json:
        events = {id(row.event): event_json(row.event) for row in found}
        output.json({**_checked(records), "events": list(events.values())})
        return 0
    if found:
        output.table(_HISTORY, [_history_cells(row) for row in found])
    else:
        output.note("nothing of that kind happened")
    output.note(_checked_words(records, models.source.where))
    return 0


def _history_cells(row: Row) -> list[Cell]:
    refused = isinstance(row.event, PromotionRefused)
    to = Text.assemble((row.to, BAD), (" refused", BAD)) if refused else styled(row.to)
    return [
        str(row.event.sequence),
        short_time(row.event.at),
        "" if row.version is None else str(row.version),
        styled(row.from_),
        to if row.to else Text(row.happened),
        _who(row.by, row.user),
        (row.event.revision or "")[:12],
        gates_cell(row.gates),
        row.happened,
    ]


def _who(by: str, user: str) -> str:
    """Return the user, and the field manager whose edit it was."""
    return f"{user} ({by})" if user and by else user or by


def gates_cell(gates: Sequence[GateResult]) -> Text:
    """Return a line for each gate: its verdict, its name and its numbers."""
    lines = [Text.assemble(styled(gate.verdict), f" {gate.name}", (f": {gate.message}", "")) for gate in gates]
    return Text("\n").join(lines)


def _transitions(output: Output, model: RegisteredModel, wanted: Wanted) -> None:
    shown = [
        each
        for each in reversed(model.status.transitions)
        if (wanted.version is None or each.version == wanted.version)
        and (wanted.since is None or datetime.fromisoformat(each.at) >= wanted.since)
    ]
    if output.is_json:
        output.json({"verified": False, "transitions": [each.to_dict() for each in shown]})
        return
    if not shown:
        output.note("nothing of that kind happened")
        return
    output.table(
        _HISTORY[:8],
        [
            [
                str(each.sequence),
                short_time(each.at),
                str(each.version),
                styled(each.from_),
                styled(each.to),
                _who(each.by, each.user or ""),
                (each.revision or "")[:12],
                each.gates or "",
            ]
            for each in shown
        ],
    )


def _history_at(output: Output, records: Records, moment: datetime, stage: str | None) -> int:
    events = [*records.earlier, *records.events]
    # A continued log begins with what the one before had come to.
    later = state_at(records.events, moment)
    state = later if later.sequence or not records.earlier else state_at(records.earlier, moment)
    keys = [stage] if stage else list(STAGE_KEYS)
    answer: Json = {"at": moment.isoformat().replace("+00:00", "Z"), **_checked(records), "stages": {}}
    table: list[list[Cell]] = []
    for key in keys:
        held = state.stages.get(key)
        if held is None:
            answer["stages"][key] = None
            table.append([styled(ASSIGNABLE[key]), Text("none", QUIET), *[""] * 6])
            continue
        change = entered(events, key, held.version, held.since)
        version = state.versions.get(held.version)
        revision = (change.revision if change else None) or ""
        answer["stages"][key] = {
            **held.to_dict(),
            **({"revision": revision} if revision else {}),
            **_identity(version),
            "gates": _gates_json(change, key, held.version),
        }
        table.append(
            [
                styled(ASSIGNABLE[key]),
                str(held.version),
                short_time(held.since),
                _who(held.by, held.user or ""),
                revision[:12],
                (version.run_id if version else None) or "",
                short_digest(version.digest) if version else "",
                version.artifact if version else "",
            ]
        )
    if output.is_json:
        output.json(answer)
        return 0
    output.table(_STAGES, table)
    output.note(f"at {short_time(answer['at'])}; {len(records.events)} records, every one as it was written")
    return 0


def _identity(version: VersionState | None) -> Json:
    if version is None:
        return {}
    fields = {"source": version.source, "artifact": version.artifact, "digest": version.digest, "runId": version.run_id}
    return {name: value for name, value in fields.items() if value}


def _gates_json(change: StagesChanged | None, key: str, version: int) -> list[Json]:
    if change is None:
        return []
    return [
        gate.to_dict() for each in change.gates if (each.stage, each.version) == (key, version) for gate in each.gates
    ]


def _checked(records: Records) -> Json:
    return {"verified": True, "records": len(records.events), "head": records.head.to_dict()}


def _checked_words(records: Records, where: str) -> str:
    return f"{len(records.events)} records in {where}, every one as it was written"


def versions(models: Models, output: Output, arguments: Namespace) -> int:
    """Show the versions, with what gates said of each."""
    model = models.get(arguments.model)
    try:
        records = models.records(arguments.model, model)
    except Unavailable as error:
        output.note(f"{error}\nThese are the versions that the object's status holds.")
        _show_versions(output, model, model.status.versions, {})
        return 0
    _show_versions(output, model, records.state.shown, _verdicts(records))
    return 0


def _verdicts(records: Records) -> Mapping[int, str]:
    """Return what the gates said last of each version."""
    said: dict[int, str] = {}
    for sealed in (*records.earlier, *records.events):
        event = sealed.event
        if isinstance(event, StagesChanged):
            for each in event.gates:
                said[each.version] = f"{each.stage}: {len(each.gates)} passed"
        elif isinstance(event, PromotionRefused):
            failed = [gate.name for gate in event.gates if gate.verdict != GateVerdict.PASSED]
            said[event.version] = f"{event.stage}: {', '.join(failed)} of {len(event.gates)} not passed"
    return said


_VERSIONS = (
    Column("VERSION"),
    Column("STAGE"),
    Column("ALIASES", optional=True),
    Column("RUN", optional=True),
    Column("DIGEST"),
    Column("CREATED"),
    Column("BY"),
    Column("GATES", optional=True),
    Column("PREPARED", optional=True),
    Column("FLAVORS", wide=True),
    Column("FILES", wide=True),
    Column("ARTIFACT", wide=True),
    Column("TAGS", wide=True),
    Column("DESCRIPTION", wide=True),
)


def _show_versions(
    output: Output, model: RegisteredModel, shown: Sequence[VersionStatus], verdicts: Mapping[int, str]
) -> None:
    aliases: dict[int, list[str]] = {}
    for alias, number in sorted(model.aliases.items()):
        aliases.setdefault(number, []).append(alias)
    newest = sorted(shown, key=lambda version: version.version, reverse=True)
    if output.is_json:
        output.json(
            [
                {
                    **version.model_dump(by_alias=True, mode="json", exclude_none=True, exclude={"record"}),
                    "aliases": aliases.get(version.version, []),
                }
                for version in newest
            ]
        )
        return
    table: list[list[Cell]] = []
    for version in newest:
        known = version if isinstance(version, VersionState) else VersionState(**version.model_dump())
        table.append(
            [
                str(version.version),
                styled(version.stage),
                ", ".join(aliases.get(version.version, [])),
                version.run_id or "",
                short_digest(version.digest),
                short_time(version.created_at),
                version.created_by,
                verdicts.get(version.version, ""),
                version.preparation.outcome if version.preparation else "",
                ",".join(version.flavors),
                (known.purge or "kept").lower(),
                version.artifact,
                ", ".join(f"{key}={value}" for key, value in sorted(known.tags.items())),
                (known.description or "").splitlines()[0] if known.description else "",
            ]
        )
    output.table(_VERSIONS, table)


def verify(models: Models, output: Output, arguments: Namespace) -> int:
    """Check the records, and with `--artifacts` every byte of every version."""
    model = models.find(arguments.model)
    records = models.records(arguments.model, model)
    damaged = _damaged(models, records.state) if arguments.artifacts else []
    if output.is_json:
        answer = _checked(records)
        if arguments.artifacts:
            answer["artifacts"] = [{"version": number, "problem": problem} for number, problem in damaged]
        output.json(answer)
        return ALTERED if damaged else 0
    output.say(f"{len(records.events)} records, every one as it was written and in its place")
    if records.events:
        output.say(f"the last is {records.head.sequence}, {records.head.digest}")
    if model is None:
        output.say("the object is gone, so whether records are missing at the end is not known")
    else:
        output.say(f"the object's status has taken in {model.status.records.sequence} of them, and agrees")
    if arguments.artifacts:
        for number, problem in damaged:
            output.say(Text(f"version {number}: {problem}", BAD))
        output.say(
            f"the files of {_with_files(records.state)} versions were read, {len(damaged)} are not as registered"
        )
    return ALTERED if damaged else 0


def _with_files(state: ModelState) -> int:
    return sum(1 for version in state.shown if not version.purge)


def _damaged(models: Models, state: ModelState) -> list[tuple[int, str]]:
    """Read every version's files; return those that are not what was registered."""
    source = models.source
    if not isinstance(source, StoreSource):
        raise CliError(
            "reading the models' files needs the artifact store: MODELYARD_ARTIFACT_STORE and AWS credentials"
        )
    damaged = []
    for version in state.shown:
        if version.purge:
            continue
        try:
            digest = source.store.manifest(version.artifact).digest
        except ArtifactMissing as error:
            damaged.append((version.version, str(error)))
            continue
        if digest != version.digest:
            damaged.append((version.version, f"registered as {version.digest}, its files make {digest} now"))
    return damaged
