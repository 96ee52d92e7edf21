"""`evidence`: what a gate's Job printed, or one that prepared a version found, checked against the record of it."""

from __future__ import annotations

import hashlib
import re
from argparse import Namespace

from modelyard.api.gates import GateResult
from modelyard.cli.errors import Altered, CliError
from modelyard.cli.model import Models, Records
from modelyard.cli.output import Output
from modelyard.records.events import PromotionRefused, StagesChanged, VersionPrepared

_NAMED = re.compile(r"\((?P<name>[^() ]+\.log), sha256:(?P<digest>[0-9a-f]{8,64})\)$")


def evidence(models: Models, output: Output, arguments: Namespace) -> int:
    """Print what a record names, or say which there are."""
    records = models.records(arguments.model, models.find(arguments.model))
    named = _named(records)
    if arguments.name is None:
        return _list(output, named)
    text = models.source.evidence(models.namespace, models.object_name(arguments.model), arguments.name)
    digest = hashlib.sha256(text).hexdigest()
    expected = named.get(arguments.name)
    if expected is None:
        output.note("no record names this yet, so whether it is as it was written is not known")
    elif not digest.startswith(expected):
        raise Altered(
            f"{arguments.name} was altered: a record knows it as sha256:{expected}…, it is sha256:{digest} now"
        )
    decoded = text.decode(errors="replace")
    if output.is_json:
        output.json({"name": arguments.name, "sha256": digest, "verified": expected is not None, "log": decoded})
    else:
        output.text(decoded)
    return 0


def _list(output: Output, named: dict[str, str]) -> int:
    if not named:
        raise CliError("no Job has left evidence")
    for name in named:
        output.text(f"{name}\n")
    return 0


def _named(records: Records) -> dict[str, str]:
    """Return what records name, oldest first: name → the SHA-256, or the beginning of it."""
    named: dict[str, str] = {}
    for sealed in records.events:
        event, results = sealed.event, list[GateResult]()
        if isinstance(event, StagesChanged):
            results = [gate for each in event.gates for gate in each.gates]
        elif isinstance(event, PromotionRefused):
            results = list(event.gates)
        elif isinstance(event, VersionPrepared) and event.preparation.evidence:
            named[event.preparation.evidence_name] = event.preparation.evidence.removeprefix("sha256:")
        found = (_NAMED.search(result.message) for result in results)
        named.update({match["name"]: match["digest"] for match in found if match})
    return named
