"""A model's conversion to ONNX and its check, as they are done before its first pods."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

VERIFIED = "Verified"


@dataclass(frozen=True)
class Accelerated:
    """What came of it."""

    outcome: str
    """`Verified`, or which outcome and why."""
    file: Path | None
    """The ONNX file; only of what was verified."""


def convert(programs: Path, model: Path, directory: Path) -> Accelerated:
    """Convert a saved model in the environment whose programs are given."""
    directory.mkdir()
    command = [str(programs / "python"), "-m", "modelyard_serving.acceleration", str(model), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return Accelerated(f"failed: {done.stderr.strip().splitlines()[-1]}", None)
    said = json.loads(done.stdout)
    if said["outcome"] != VERIFIED:
        return Accelerated(f"{said['outcome']}: {said['message']}", None)
    return Accelerated(VERIFIED, directory / "model.onnx")
