"""`python -m modelyard_serving.preparation`: what the operator's Job runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelyard_serving import environments, logs
from modelyard_serving.errors import StartupError
from modelyard_serving.fetch import connect, fetch
from modelyard_serving.preparation import upload
from modelyard_serving.preparation.prepare import Preparation
from modelyard_serving.preparation.recorded import recorded
from modelyard_serving.preparation.settings import Settings
from modelyard_serving.recent import Remembered
from modelyard_serving.startup import report


class InTheCluster:
    """The steps, with a store and pods."""

    def fetch(self, settings: Settings) -> Path:
        """Download and verify."""
        config = settings.config
        return fetch(connect(config.s3_endpoint), config.source, config.digest, config.model_dir).path

    def recorded(self, url: str | None, token: str | None) -> Sequence[Remembered]:
        """Ask the pods that serve."""
        return recorded(url, token)

    def put(self, url: str, path: Path) -> upload.Uploaded:
        """Upload."""
        return upload.put(url, path)


def main(env: Mapping[str, str]) -> int:
    """The process's exit code."""
    logs.configure()
    try:
        settings = Settings.from_env(env)
        preparation = Preparation(settings, InTheCluster(), environments)
        preparation.run(env)
    except StartupError as error:
        report(error, Path(env.get("MODELYARD_TERMINATION_LOG") or "/dev/termination-log"))
        return 1
    except upload.UploadFailed as error:
        logs.warning("upload_failed", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
