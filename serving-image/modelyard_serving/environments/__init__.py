"""A model's own libraries: what it asks for against what there is, and an environment that has them.

`enter` is what the server calls; `differences` and `build` are for preparing an environment ahead of the pods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard_serving import mlmodel
from modelyard_serving.environments import building, packing, requirements
from modelyard_serving.environments.entering import enter

__all__ = ["Built", "build", "differences", "enter"]


@dataclass(frozen=True)
class Built:
    """An environment and its archive."""

    python: Sequence[str]
    """The beginning of a command that runs a module of this package with the environment's libraries."""
    archive: Path
    """What pods unpack."""
    digest: str
    """`sha256:<hex>` of the archive."""


def differences(model: Path) -> Sequence[str]:
    """What makes an environment necessary for the model in a directory, each in words; none where the image does.

    Raises StartupError: ModelInvalid, UnsupportedFlavor.
    """
    return [each.text for each in requirements.differences(model, mlmodel.read(model)) if each.needed]


def build(model: Path, directory: Path, seconds: float) -> Built:
    """Build the environment of the model below `directory` and pack it. Raises StartupError."""
    environment = building.build(model, mlmodel.read(model), directory, seconds)
    archive = directory / "environment.tar.gz"
    digest = packing.pack(environment, archive)
    return Built((str(environment.python),), archive, digest)
