"""`rollback`: asks for the version before, where the deployment's `spec.model` takes its version from."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import KUBECTL_FIELD_MANAGER
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import ASSIGNABLE
from modelyard.cli.deployments import Change, Deployments
from modelyard.cli.edit import promote
from modelyard.cli.errors import CliError
from modelyard.cli.model import Models
from modelyard.cli.output import Output
from modelyard.cli.sources import Unavailable
from modelyard.cluster.client import Conflict
from modelyard.records.events import ModelEdited, Sealed, StagesChanged
from modelyard.registry.edits import OwnedByGit, refuse_git
from modelyard.registry.objects import REGISTERED_MODELS, TRIES

_SAY = "say which version with --to"


def rollback(models: Models, deployments: Deployments, output: Output, arguments: Namespace) -> int:
    """Ask for the version before the present one, or for `to`. Raises `CliError` where no version is known."""
    deployment = deployments.get(arguments.deployment)
    reference = deployment.spec.model
    try:
        if reference.stage is not None:
            return _stage(models, deployments, deployment, output, arguments)
        if reference.alias is not None:
            return _alias(models, deployments, deployment, output, arguments)
    except OwnedByGit as error:
        raise CliError(f"{error} (git revert the commit that asked for the present version)") from error
    return _version(deployments, deployment, output, arguments)


def _stage(
    models: Models, deployments: Deployments, deployment: ModelDeployment, output: Output, arguments: Namespace
) -> int:
    """Promote the version that was in the stage before; gates judge it as they judge any."""
    reference = deployment.spec.model
    key = str(reference.stage).lower()
    model = models.get(reference.name)
    version = arguments.to or before_in_stage(models, model, key)
    asked = Namespace(
        model=reference.name,
        version=version,
        stage=key,
        no_wait=arguments.no_wait,
        timeout=arguments.timeout,
    )
    code = promote(models, output, asked, deployments.git_managers)
    if code == 0 and not output.is_json:
        _follow(output, deployment)
    return code


def before_in_stage(models: Models, model: RegisteredModel, key: str) -> int:
    """Return the version that left the stage last. Raises `CliError` where that is not clear."""
    held, wanted = model.status.stages.get(key), model.wanted_stages.get(key)
    stage, name = ASSIGNABLE[key], model.model_name
    if held is None:
        raise CliError(f"no version of {name} is in {stage}: {_SAY}")
    if wanted != held.version:
        asks = f"version {wanted}" if wanted else "no version"
        raise CliError(f"version {held.version} of {name} is in {stage}, and spec.stages.{key} asks for {asks}: {_SAY}")
    left = [each.version for each in model.status.transitions if each.from_ == stage and each.version != held.version]
    if left:
        return left[0]
    events = _events(models, model)
    moves = [move for event in reversed(events) if isinstance(event.event, StagesChanged) for move in event.event.moves]
    recorded = [move.version for move in moves if move.from_ == stage and move.version != held.version]
    if not recorded:
        raise CliError(f"no version of {name} was in {stage} before version {held.version}: {_SAY}")
    return recorded[0]


def _alias(
    models: Models, deployments: Deployments, deployment: ModelDeployment, output: Output, arguments: Namespace
) -> int:
    """Have the alias name the version that it named before."""
    alias = str(deployment.spec.model.alias)
    model = models.get(deployment.spec.model.name)
    version = arguments.to or before_under_alias(models, model, alias)
    for _ in range(TRIES):
        model = models.get(deployment.spec.model.name)
        if version > model.status.latest_version:
            raise CliError(f"{model.model_name} has no version {version}: the latest is {model.status.latest_version}")
        if model.aliases.get(alias) == version:
            break
        refuse_git(model, ("spec", "aliases", alias), f"aliases.{alias}", deployments.git_managers)
        patch = {
            "metadata": {"resourceVersion": model.metadata.resource_version},
            "spec": {"aliases": {alias: version}},
        }
        try:
            models.client.merge_patch(
                REGISTERED_MODELS, models.namespace, model.metadata.name, patch, KUBECTL_FIELD_MANAGER
            )
        except Conflict:
            continue
        break
    else:
        raise CliError(f"others changed {model.model_name} every time")
    return _said(output, deployment, version, f"the alias {alias} of {model.model_name} names version {version}")


def before_under_alias(models: Models, model: RegisteredModel, alias: str) -> int:
    """Return the version that had the alias before, by the records. Raises `CliError` where there is none."""
    present = model.aliases.get(alias)
    named = [
        event.event.aliases[alias]
        for event in reversed(_events(models, model))
        if isinstance(event.event, ModelEdited) and alias in event.event.aliases
    ]
    before = next((version for version in named if version != present), None)
    if before is None:
        raise CliError(f"no other version of {model.model_name} is known to have had the alias {alias}: {_SAY}")
    return before


def _version(deployments: Deployments, deployment: ModelDeployment, output: Output, arguments: Namespace) -> int:
    """Set `spec.model.version`: to what is served while another one is wanted, else somebody has to say it."""
    served, wanted = deployment.status.served, deployment.spec.model.version
    version = arguments.to or (served.version if served and served.version != wanted else None)
    if version is None:
        raise CliError(
            f"{deployment.metadata.name} serves version {wanted}, as its spec says, and does not know the one before: "
            f"{_SAY}"
        )
    change = Change({("spec", "model", "version"): version})
    advice = f"change it there (git revert the commit that asked for version {wanted})"
    edited = deployments.edit(deployment.metadata.name, lambda _: change, advice)
    return _said(output, edited, version, f"spec.model.version of {edited.metadata.name} is {version}")


def _events(models: Models, model: RegisteredModel) -> Sequence[Sealed]:
    """Return the model's records, none where they cannot be read."""
    try:
        records = models.records_of(model)
    except Unavailable:
        return ()
    return records.events


def _said(output: Output, deployment: ModelDeployment, version: int, message: str) -> int:
    if output.is_json:
        output.json({"name": deployment.metadata.name, "version": version, "message": message})
        return 0
    output.say(message)
    _follow(output, deployment)
    return 0


def _follow(output: Output, deployment: ModelDeployment) -> None:
    output.note(f"follow it with: kubectl modelyard status {deployment.metadata.name} --watch")
