"""`status`: what a deployment serves, how its rollout stands, and what to do where it stands still."""

from __future__ import annotations

import time
from argparse import Namespace
from enum import Enum, auto

from modelyard.api.common import ConditionStatus
from modelyard.api.modeldeployment import Phase
from modelyard.api.reasons import ConditionType
from modelyard.cli.deployments import Deployments
from modelyard.cli.draw import draw
from modelyard.cli.errors import REFUSED
from modelyard.cli.look import Look, Looker
from modelyard.cli.output import Output, Screen
from modelyard.cli.picture import Json, Picture, picture

LOOK_SECONDS = 2.0
"""How often it is looked while somebody watches or waits."""

_STALE_SECONDS = 10.0
"""How long a Degraded that does not name the wanted version may still be about the version before."""


class End(Enum):
    """What a wait has come to."""

    SERVED = auto()
    FAILED = auto()
    OPEN = auto()


def status(deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Show a deployment once, or again and again with `watch`; with `wait` until it serves what is wanted, or fails."""
    if not (arguments.watch or arguments.wait):
        seen = picture(Looker(deployments, arguments.deployment, differences=False)())
        if output.is_json:
            output.json(seen.to_json())
        else:
            output.draw(draw(output, seen))
        return 0
    return _watched(deployments, output, arguments) if arguments.watch else _waited(deployments, output, arguments)


def _watched(deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Draw every look, until somebody ends it or, with `wait`, it is settled."""
    look = Looker(deployments, arguments.deployment, differences=True)
    begun = time.monotonic()
    if output.is_json:
        before: Json = {}
        while True:
            seen = look()
            now = picture(seen).to_json()
            if _without_traffic(now) != _without_traffic(before):
                output.json_line(now)
            before = now
            if (code := _code(seen, arguments, begun)) is not None:
                return code
            time.sleep(LOOK_SECONDS)
    drawn: Json = {}
    with output.screen() as screen:
        while True:
            seen = look()
            drawn = _drawn(output, screen, picture(seen), drawn)
            if (code := _code(seen, arguments, begun)) is not None:
                return code
            time.sleep(LOOK_SECONDS)


def _drawn(output: Output, screen: Screen, seen: Picture, before: Json) -> Json:
    """Draw what is seen; below each other only what has changed. Return what is drawn now."""
    now = _without_traffic(seen.to_json())
    if screen.redraws or now != before:
        screen.draw(draw(output, seen))
    return now


def _waited(deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Say what is waited for, and show the deployment at the end."""
    look = Looker(deployments, arguments.deployment, differences=False)
    begun = time.monotonic()
    with output.waiting() as progress:
        while True:
            seen = look()
            code = _code(seen, arguments, begun)
            if code is not None:
                break
            progress.show(_words(seen))
            time.sleep(LOOK_SECONDS)
    if output.is_json:
        output.json(picture(seen).to_json())
    else:
        output.draw(draw(output, picture(seen)))
    if settled(seen, time.monotonic() - begun) is End.OPEN:
        output.error(f"not settled after {arguments.timeout:g} s")
    return code


def _code(seen: Look, arguments: Namespace, begun: float) -> int | None:
    """Return the exit code of a wait that is over."""
    if not arguments.wait:
        return None
    waited = time.monotonic() - begun
    end = settled(seen, waited)
    if end is End.OPEN:
        return REFUSED if waited >= arguments.timeout else None
    return 0 if end is End.SERVED else REFUSED


def settled(seen: Look, waited: float) -> End:
    """Return whether the version that is wanted at this moment is served, was given up, or may still come.

    What the status says of another version is passed over: the operator has not seen the promotion yet.
    """
    deployment, status = seen.deployment, seen.deployment.status
    if (status.observed_generation or 0) < deployment.metadata.generation:
        return End.OPEN
    served = status.served.version if status.served else None
    ready = next((each for each in status.conditions if each.type == ConditionType.READY), None)
    if ready is not None and ready.status == ConditionStatus.TRUE:
        return End.SERVED if seen.target in (None, served) else End.OPEN
    if status.phase == Phase.ROLLED_BACK:
        refused = status.refused.version if status.refused else None
        return End.FAILED if seen.target in (None, refused) or refused is None else End.OPEN
    if status.phase == Phase.DEGRADED:
        named = {served, status.candidate.version if status.candidate else None}
        return End.FAILED if seen.target in (None, *named) or waited >= _STALE_SECONDS else End.OPEN
    return End.OPEN


def _words(seen: Look) -> str:
    deployment = seen.deployment
    ready = next((each for each in deployment.status.conditions if each.type == ConditionType.READY), None)
    said = f"{deployment.metadata.name} is {deployment.status.phase or 'not looked at yet'}"
    return f"{said}: {ready.message}" if ready and ready.message else said


def _without_traffic(seen: Json) -> Json:
    """Leave out what changes with every request."""
    versions = [{k: v for k, v in row.items() if k != "traffic"} for row in seen.get("versions", [])]
    return {**seen, "versions": versions}
