"""One preparation from beginning to end. Exit code 0 whenever the evidence was uploaded, whatever it says."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from modelyard_serving import logs
from modelyard_serving.errors import StartupError
from modelyard_serving.preparation import upload
from modelyard_serving.preparation.accelerate import accelerate
from modelyard_serving.preparation.evidence import Acceleration, Environment, document
from modelyard_serving.preparation.settings import Settings
from modelyard_serving.recent import Remembered

UPLOAD_SECONDS = 60.0
"""What is kept of the time for sending what was made."""

_SECRET = ("AWS_", "MODELYARD_CONTROL_TOKEN", "MODELYARD_PREPARATION_", "UV_")


class Built(Protocol):
    """An environment: the command of its interpreter, and its archive."""

    @property
    def python(self) -> Sequence[str]:
        """The beginning of a command that runs a module of this package with the environment's libraries."""

    @property
    def archive(self) -> Path:
        """What pods unpack."""


class Environments(Protocol):
    """What compares a model's requirements with the image, and builds an environment where they differ."""

    def differences(self, model: Path) -> Sequence[str]:
        """Each in words, `scikit-learn==1.5.2, the image has 1.9.1`; none where the image does."""

    def build(self, model: Path, directory: Path, seconds: float) -> Built:
        """Build it, saying in the log how that goes. Raises StartupError."""


class Steps(Protocol):
    """What a preparation does outside of this process."""

    def fetch(self, settings: Settings) -> Path:
        """Download the model and verify its digest. Raises StartupError."""

    def recorded(self, url: str | None, token: str | None) -> Sequence[Remembered]:
        """What pods were asked lately."""

    def put(self, url: str, path: Path) -> upload.Uploaded:
        """Upload a file. Raises UploadFailed."""


class Preparation:
    """One of them."""

    def __init__(
        self, settings: Settings, steps: Steps, environments: Environments, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Its time begins now; `clock` gives seconds."""
        self._settings = settings
        self._steps = steps
        self._environments = environments
        self._clock = clock
        self._end = clock() + settings.seconds - UPLOAD_SECONDS

    def run(self, env: Mapping[str, str]) -> None:
        """Do it; what the model's code gets to see of `env` is harmless.

        Raises StartupError where the model cannot be had, and UploadFailed.
        """
        with tempfile.TemporaryDirectory(prefix="preparation-") as made:
            directory = Path(made)
            model = self._steps.fetch(self._settings)
            environment, python = self._environment(model, directory)
            acceleration = self._acceleration(model, directory, environment, python, env)
            logs.event("accelerated", outcome=acceleration.outcome, message=acceleration.message)
            evidence = directory / "preparation.json"
            evidence.write_bytes(
                document(self._settings.config.digest, self._settings.image, environment, acceleration)
            )
            # Last: who finds it finds all that it names.
            self._steps.put(self._settings.uploads.evidence, evidence)
        logs.event("prepared", environment=environment.needed, outcome=acceleration.outcome)

    def _environment(self, model: Path, directory: Path) -> tuple[Environment, Sequence[str]]:
        """What is found of the model's libraries, and the beginning of a command that has them."""
        image = (sys.executable,)
        differences = tuple(self._environments.differences(model))
        if not differences:
            return Environment(), image
        logs.event("building_environment", differences=differences)
        try:
            built = self._environments.build(model, directory / "environment", self._left())
        except StartupError as error:
            logs.warning("environment_failed", error=error.message)
            return Environment(needed=True, differences=differences, error=error.message), image
        archive = self._steps.put(self._settings.uploads.environment, built.archive)
        logs.event("environment_uploaded", bytes=archive.bytes)
        return Environment(needed=True, differences=differences, archive=archive), built.python

    def _acceleration(
        self, model: Path, directory: Path, environment: Environment, python: Sequence[str], env: Mapping[str, str]
    ) -> Acceleration:
        if environment.needed and not environment.archive:
            return Acceleration("Failed", "the version has no environment to be loaded in")
        asked = self._steps.recorded(self._settings.recent_url, self._settings.config.control_token)
        logs.event("accelerating", python=python[0], recorded=len(asked))
        output = directory / "acceleration"
        done, file = accelerate(python, model, output, asked, seconds=self._left(), env=_harmless(env))
        if file is not None:
            self._steps.put(self._settings.uploads.model, file)
        return done

    def _left(self) -> float:
        return max(self._end - self._clock(), 1.0)


def _harmless(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without what the model's code has no business with."""
    return {name: value for name, value in env.items() if not name.startswith(_SECRET)}
