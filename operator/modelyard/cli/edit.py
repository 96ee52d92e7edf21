"""`promote` and `approve`."""

from __future__ import annotations

import secrets
import time
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from rich.text import Text

from modelyard.api.approval import Approval
from modelyard.api.gates import GateResult
from modelyard.api.names import API_VERSION, KUBECTL_FIELD_MANAGER
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import ASSIGNABLE
from modelyard.cli.errors import REFUSED, CliError
from modelyard.cli.model import Models
from modelyard.cli.output import BAD, GOOD, Column, Output, Progress, styled
from modelyard.cli.verdict import Outcome, Standing, standing
from modelyard.cluster.client import Conflict
from modelyard.cluster.resources import of_kind
from modelyard.records.events import Sealed, StagesChanged
from modelyard.registry.edits import enter
from modelyard.registry.objects import REGISTERED_MODELS, TRIES

Json = dict[str, Any]

APPROVALS = of_kind(Approval)

_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 2.0
_GATES = (Column("VERDICT"), Column("GATE"), Column("FOUND", folds=True))


def promote(models: Models, output: Output, arguments: Namespace, git_managers: Iterable[str]) -> int:
    """Ask for a version in a stage, and wait for what comes of it."""
    model = models.get(arguments.model)
    if arguments.version > model.status.latest_version:
        raise CliError(
            f"{model.model_name} has no version {arguments.version}: the latest is {model.status.latest_version}"
        )
    before = model.status.records.sequence
    model = _asked(models, arguments, git_managers)
    if arguments.no_wait:
        seen = Standing(Outcome.PENDING, f"spec.stages.{arguments.stage} of {model.model_name} is {arguments.version}")
        _show(output, model, arguments, seen)
        return 0
    with output.waiting() as progress:
        model, seen = _waited(models, model, arguments, progress)
    if seen.outcome is Outcome.DONE and not seen.gates:
        seen = Standing(seen.outcome, seen.message, _passed(models, model, arguments, before))
    _show(output, model, arguments, seen)
    return 0 if seen.outcome is Outcome.DONE else REFUSED


def _asked(models: Models, arguments: Namespace, git_managers: Iterable[str]) -> RegisteredModel:
    """Have the spec ask for it; fields that Git owns are Git's. Raises `OwnedByGit`."""
    stage = ASSIGNABLE[arguments.stage]
    for _ in range(TRIES):
        model = models.get(arguments.model)
        edit = enter(model, arguments.version, stage, archive=True, git_managers=git_managers)
        if edit.patch is None:
            return model
        metadata = {**edit.patch.get("metadata", {}), "resourceVersion": model.metadata.resource_version}
        patch = {**edit.patch, "metadata": metadata}
        try:
            body = models.client.merge_patch(
                REGISTERED_MODELS, models.namespace, model.metadata.name, patch, KUBECTL_FIELD_MANAGER
            )
        except Conflict:
            continue
        return RegisteredModel.parse(body)
    raise CliError(f"others changed {arguments.model} every time")


def _waited(
    models: Models, asked: RegisteredModel, arguments: Namespace, progress: Progress
) -> tuple[RegisteredModel, Standing]:
    """Return the model and how the promotion stands when that is settled, or when the time is over."""
    deadline, pause = time.monotonic() + arguments.timeout, _FIRST_PAUSE_SECONDS
    model = asked
    known: tuple[GateResult, ...] = ()
    while True:
        seen = standing(model, arguments.stage, arguments.version, asked.metadata.generation)
        known = seen.gates or known
        if seen.outcome is not Outcome.PENDING:
            return model, seen
        if time.monotonic() >= deadline:
            return model, Standing(seen.outcome, f"{seen.message} (after {arguments.timeout:g} s)", known)
        progress.show(seen.message)
        time.sleep(pause)
        pause = min(pause * 1.5, _LAST_PAUSE_SECONDS)
        model = models.get(arguments.model)


def _passed(models: Models, model: RegisteredModel, arguments: Namespace, before: int) -> tuple[GateResult, ...]:
    """Return the gates that let the version in, where the records since the edit can be read."""
    try:
        records = models.source.records(models.namespace, model.metadata.name, before)
    except CliError:
        return ()
    wanted = (arguments.stage, arguments.version)
    events = [Sealed.of(record.data).event for record in records]
    changes = [event for event in events if isinstance(event, StagesChanged)]
    judged = [each for event in changes for each in event.gates if (each.stage, each.version) == wanted]
    return judged[-1].gates if judged else ()


def _show(output: Output, model: RegisteredModel, arguments: Namespace, seen: Standing) -> None:
    if output.is_json:
        output.json(
            {
                "model": model.model_name,
                "version": arguments.version,
                "stage": arguments.stage,
                "outcome": seen.outcome.name.capitalize(),
                "message": seen.message,
                "gates": [gate.to_dict() for gate in seen.gates],
            }
        )
        return
    style = {Outcome.DONE: GOOD, Outcome.REFUSED: BAD}.get(seen.outcome, "")
    output.say(Text(seen.message, style))
    if seen.gates:
        output.table(_GATES, [[styled(gate.verdict), gate.name, gate.message] for gate in seen.gates])
    if seen.outcome is Outcome.PENDING and seen.waits_for_approval:
        output.note(
            f"who may, approves it with: kubectl modelyard approve {arguments.model} {arguments.version} "
            f"--stage {arguments.stage}"
        )


def approve(models: Models, output: Output, arguments: Namespace) -> int:
    """Make an Approval in the name of whom the API server takes the user for."""
    model = models.get(arguments.model)
    who = models.client.user_info()
    user, groups = str(who.get("username", "")), tuple(who.get("groups") or ())
    body: Json = {
        "apiVersion": API_VERSION,
        "kind": Approval.kind_name,
        "metadata": {"name": _approval_name(model, arguments), "namespace": models.namespace},
        "spec": {
            "model": model.model_name,
            "version": arguments.version,
            "digest": _digest(models, model, arguments),
            "stage": arguments.stage,
            "group": arguments.group or _group(model, arguments.stage, user, groups),
            "user": user,
            **({"comment": arguments.comment} if arguments.comment else {}),
        },
    }
    made = models.client.create(APPROVALS, models.namespace, body, KUBECTL_FIELD_MANAGER)
    if output.is_json:
        output.json({"name": made["metadata"]["name"], "namespace": models.namespace, **made["spec"]})
        return 0
    output.say(
        f"approval/{made['metadata']['name']}: {user} ({body['spec']['group']}) approves version {arguments.version} "
        f"of {model.model_name} for {ASSIGNABLE[arguments.stage]}"
    )
    return 0


def _approval_name(model: RegisteredModel, arguments: Namespace) -> str:
    return f"{model.metadata.name}-{arguments.version}-{arguments.stage}-{secrets.token_hex(3)}"


def _digest(models: Models, model: RegisteredModel, arguments: Namespace) -> str:
    """Return the digest of the bytes that are approved: the status has it of new versions, the records of all."""
    shown = model.status.find(arguments.version)
    if shown is not None:
        return shown.digest
    if arguments.version <= model.status.latest_version:
        version = models.records(arguments.model, model).state.find(arguments.version)
        if version is not None:
            return version.digest
    raise CliError(f"{model.model_name} has no version {arguments.version}")


def _group(model: RegisteredModel, stage: str, user: str, groups: tuple[str, ...]) -> str:
    """Return the user's group whose approval the stage waits for."""
    wanted = [group for gate in model.spec.gates.get(stage, ()) for group in gate.approvers or ()]
    if not wanted:
        raise CliError(f"{stage} of {model.model_name} has no gate with approvers")
    mine = [group for group in dict.fromkeys(wanted) if group in groups]
    if not mine:
        raise CliError(
            f"{stage} of {model.model_name} is approved by {', '.join(wanted)}, and {user} is in none of them"
        )
    if len(mine) > 1:
        raise CliError(f"{user} is in several groups that may approve: say --group {' or --group '.join(mine)}")
    return mine[0]
