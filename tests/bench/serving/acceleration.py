"""A model's conversion to ONNX and its check, as they are done before its first pods; it takes a minute a model."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import REPOSITORY, cache_dir

VERIFIED = "Verified"
PACKAGE = REPOSITORY / "serving-image" / "modelyard_serving"
CODE = ("acceleration/*.py", "flavors/*.py", "schema/*.py", "table.py")
"""What converts, and what the answers that are compared go through."""


@dataclass(frozen=True)
class Accelerated:
    """What came of it."""

    outcome: str
    """`Verified`, or which outcome and why."""
    file: Path | None
    """The ONNX file; only of what was verified."""


def convert(programs: Path, model: Path) -> Accelerated:
    """Convert a saved model in the environment whose programs are given, unless the cache has what came of it."""
    directory = cache_dir() / "bench" / f"accelerated-{_key(programs, model)}"
    said = directory / "acceleration.json"
    if not said.exists():
        module = [str(programs / "python"), "-m", "modelyard_serving.acceleration"]
        subprocess.run([*module, "--model", str(model), "--output", str(directory)], check=True)
    document = json.loads(said.read_text())
    outcome = f"{document['outcome']}: {document['message']}"
    return Accelerated(outcome, directory / "model.onnx" if document["outcome"] == VERIFIED else None)


def _key(programs: Path, model: Path) -> str:
    """Of all that the outcome depends on: the estimator and its signature, the environment, the code that converts.

    The MLmodel file itself has the time and a random id.
    """
    digest = hashlib.sha256(str(programs).encode())
    sources = sorted(path for part in CODE for path in PACKAGE.glob(part))
    for path in (model / "model.pkl", model / "input_example.json", *sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
