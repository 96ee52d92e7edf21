"""`promote` without a version, `abort`, `pause`, `resume` and `refresh`: annotations that steer a rollout."""

from __future__ import annotations

from argparse import Namespace

from modelyard.api.modeldeployment import ModelDeployment, Phase
from modelyard.api.names import (
    ABORT_ANNOTATION,
    PAUSED_ANNOTATION,
    PROMOTE_ANNOTATION,
    REFRESH_ANNOTATION,
)
from modelyard.api.rollout import RolloutPhase, RolloutStatus
from modelyard.cli.deployments import Change, Deployments
from modelyard.cli.errors import CliError
from modelyard.cli.output import Output
from modelyard.decide.conditions import timestamp
from modelyard.decide.rollout import is_paused


def is_held(deployment: ModelDeployment) -> bool:
    """Whether a rollout waits for somebody to let it go on."""
    rollout = deployment.status.rollout
    return rollout is not None and (deployment.status.phase == Phase.HELD or rollout.phase == RolloutPhase.HELD)


def go_on(deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Let a rollout pass the hold or the pause that it is at; with `full`, take it to all of the traffic at once."""
    done = ""

    def decide(deployment: ModelDeployment) -> Change:
        nonlocal done
        rollout = _rollout(deployment)
        name, version = deployment.metadata.name, rollout.version
        if arguments.full:
            done = f"version {version} of {name} goes to 100 % without further pauses and analysis"
            return _steering(deployment, PROMOTE_ANNOTATION, str(version), ABORT_ANNOTATION)
        if not is_held(deployment) and rollout.phase != RolloutPhase.PAUSING:
            raise CliError(
                f"the rollout of version {version} of {name} is not held ({_where(rollout)}): it goes on by itself, or "
                f"at once with: kubectl modelyard promote {name} --full"
            )
        done = f"version {version} of {name} goes on from {_where(rollout)}"
        return _steering(deployment, PROMOTE_ANNOTATION, f"{version}/{rollout.step}", ABORT_ANNOTATION)

    deployment = deployments.edit(arguments.deployment, decide, "promote it there")
    return _say(output, deployment, PROMOTE_ANNOTATION, done)


def abort(deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Take the candidate back; all traffic goes to the version that was served before."""
    done = ""

    def decide(deployment: ModelDeployment) -> Change:
        nonlocal done
        rollout, served = _rollout(deployment), deployment.status.served
        name = deployment.metadata.name
        if served is None:
            raise CliError(
                f"nothing of {name} was served before version {rollout.version}: there is nothing to go back to"
            )
        done = f"version {rollout.version} of {name} is taken back, version {served.version} gets all requests"
        return _steering(deployment, ABORT_ANNOTATION, str(rollout.version), PROMOTE_ANNOTATION)

    deployment = deployments.edit(arguments.deployment, decide, "abort it there, or git revert the promotion")
    return _say(output, deployment, ABORT_ANNOTATION, done)


def pause(deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Have the operator change nothing of the deployment."""
    was_paused = False

    def decide(deployment: ModelDeployment) -> Change | None:
        nonlocal was_paused
        was_paused = is_paused(deployment)
        return None if was_paused else Change.of_annotations({PAUSED_ANNOTATION: "true"})

    deployment = deployments.edit(arguments.deployment, decide, "pause it there")
    name = deployment.metadata.name
    done = f"{name} is paused already" if was_paused else f"{name} is paused: the operator changes nothing of it"
    return _say(output, deployment, PAUSED_ANNOTATION, done, f"go on with: kubectl modelyard resume {name}")


def resume(deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Have the operator go on."""
    was_paused = True

    def decide(deployment: ModelDeployment) -> Change | None:
        nonlocal was_paused
        was_paused = is_paused(deployment)
        return Change.of_annotations({PAUSED_ANNOTATION: None}) if was_paused else None

    deployment = deployments.edit(arguments.deployment, decide, "resume it there")
    name = deployment.metadata.name
    done = f"{name} goes on" if was_paused else f"{name} is not paused"
    return _say(output, deployment, PAUSED_ANNOTATION, done)


def refresh(deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Have the pods made anew by the operator that is installed now."""
    now = timestamp(deployments.clock())
    deployment = deployments.edit(
        arguments.deployment, lambda _: Change.of_annotations({REFRESH_ANNOTATION: now}), "refresh it there"
    )
    done = f"the pods of {deployment.metadata.name} are made anew, with the serving image and defaults of the operator"
    return _say(output, deployment, REFRESH_ANNOTATION, done)


def _rollout(deployment: ModelDeployment) -> RolloutStatus:
    """Return the rollout that is under way. Raises `CliError` where there is none."""
    if deployment.status.rollout is not None:
        return deployment.status.rollout
    name, served, refused = deployment.metadata.name, deployment.status.served, deployment.status.refused
    said = f"version {served.version} is served" if served else "no version is served yet"
    if refused:
        said += f", version {refused.version} was refused"
    raise CliError(f"nothing of {name} is rolling out: {said} (kubectl modelyard status {name})")


def _steering(deployment: ModelDeployment, annotation: str, value: str, opposite: str) -> Change:
    """Set the annotation, and take away the one that asks for the opposite with the same version."""
    before = deployment.metadata.annotations.get(opposite, "")
    gone: dict[str, str | None] = {opposite: None} if _version(before) == _version(value) else {}
    return Change.of_annotations({annotation: value, **gone})


def _version(value: str) -> str:
    return value.partition("/")[0].strip()


def _where(rollout: RolloutStatus) -> str:
    return f"{rollout.weight} %" if rollout.weight else "before it gets requests"


def _say(output: Output, deployment: ModelDeployment, annotation: str, done: str, next_: str | None = None) -> int:
    """Say what was done, and what to do next."""
    name = deployment.metadata.name
    if output.is_json:
        value = deployment.metadata.annotations.get(annotation)
        output.json(
            {
                "name": name,
                "namespace": deployment.metadata.namespace,
                "annotations": {annotation: value},
                "message": done,
            }
        )
        return 0
    output.say(done)
    if is_paused(deployment) and annotation != PAUSED_ANNOTATION:
        output.note(f"{name} is paused, so nothing happens until: kubectl modelyard resume {name}")
    output.note(next_ or f"follow it with: kubectl modelyard status {name} --watch")
    return 0
