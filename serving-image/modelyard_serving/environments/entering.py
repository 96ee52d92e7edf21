"""The decision whether this process serves the model, or one in the model's own environment in its place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path

from modelyard_serving import logs
from modelyard_serving.environments.building import BUILD_SECONDS, Environment, build, failure
from modelyard_serving.environments.packing import unpack
from modelyard_serving.environments.requirements import Difference, differences
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.mlmodel import MLmodel

AUTO, IMAGE, MODEL = "auto", "image", "model"
ENTERED = "MODELYARD_ENVIRONMENT_ENTERED"
"""Set for the process in the environment, which then stays where it is."""

Exec = Callable[[str, list[str], dict[str, str]], None]
Archive = tuple[Callable[[], Path], str]
"""What downloads an environment that was prepared, and its digest."""


class Place(Enum):
    """Where the model is served."""

    HERE = auto()
    OWN = auto()


def enter(
    directory: Path,
    model: MLmodel,
    mode: str,
    root: Path,
    *,
    archive: Archive | None = None,
    seconds: float = BUILD_SECONDS,
    env: Mapping[str, str] = os.environ,
    execute: Exec = os.execve,
) -> None:
    """Return where the model is to be served by this process; otherwise replace it by the server in an environment.

    `mode` is `auto`, `image` or `model`; environments are kept below `root`. To be called when the model's digest was
    verified and before it is loaded.
    Raises StartupError: RequirementsDiffer, EnvironmentFailed, DigestMismatch, ModelInvalid.
    """
    found = differences(directory, model)
    entered = env.get(ENTERED)
    for each in found:
        logs.event("requirement_differs", requirement=each.requirement, installed=each.installed, needed=each.needed)
    if place(found, mode, entered is not None) is Place.HERE:
        return
    environment = None if archive is None else _prepared(archive, root)
    if environment is None:
        environment = _built(directory, model, root, seconds, found)
    logs.event("entering_environment", path=str(environment.path))
    sys.stdout.flush()
    sys.stderr.flush()
    python = str(environment.python)
    execute(python, [python, "-m", "modelyard_serving"], {**env, ENTERED: environment.path.name})


def place(found: Sequence[Difference], mode: str, entered: bool) -> Place:
    """Raises StartupError(RequirementsDiffer) where the model cannot be served at all, or not in this mode."""
    needed = [each for each in found if each.needed]
    if entered:
        # What an environment that was built for the model does not have, no other would.
        return Place.HERE
    if mode == IMAGE:
        if missing := [each for each in needed if each.installed is None]:
            raise _differ(missing, "and MODELYARD_ENVIRONMENT=image does not allow the model its own")
        return Place.HERE
    if incurable := [each for each in needed if not each.curable]:
        raise _differ(incurable, "which no environment of this image can mend")
    reasons = [each for each in found if each.curable] if mode == MODEL else needed
    return Place.OWN if reasons else Place.HERE


def _differ(listed: Sequence[Difference], why: str) -> StartupError:
    return StartupError(Reason.REQUIREMENTS_DIFFER, f"the model needs {'; '.join(each.text for each in listed)}, {why}")


def _prepared(archive: Archive, root: Path) -> Environment | None:
    """None, with a warning, if it is no environment for this image. Raises StartupError(DigestMismatch)."""
    download, digest = archive
    try:
        return unpack(download(), digest, root)
    except StartupError as error:
        if error.reason is Reason.DIGEST_MISMATCH:
            raise
        logs.warning("prepared_environment_unusable", error=error.line)
        return None


def _built(directory: Path, model: MLmodel, root: Path, seconds: float, found: Sequence[Difference]) -> Environment:
    try:
        return build(directory, model, root, seconds)
    except StartupError as error:
        raise failure(error, found) from error
