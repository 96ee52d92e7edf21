"""Runs the conversion and its check in a process of its own: what crashes or hangs there is a finding, no failure."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard_serving.preparation.evidence import OUTCOMES, Acceleration
from modelyard_serving.preparation.upload import measured
from modelyard_serving.recent import MLFLOW, Remembered

MODULE = "modelyard_serving.acceleration"
MODEL, REPORT = "model.onnx", "acceleration.json"
COMPARING_SECONDS = 30.0
"""What comparing may take: a version waits for it."""
MAX_REPORT = 2 << 20
_NEGATIVE = "Failed"


def accelerate(
    python: Sequence[str],
    model: Path,
    output: Path,
    recorded: Sequence[Remembered],
    *,
    seconds: float,
    env: Mapping[str, str],
) -> tuple[Acceleration, Path | None]:
    """What came of it, and the verified file. `python` begins the command of the interpreter that has the libraries.

    It runs the model's code: `env` is all of the environment that it gets.
    """
    output.mkdir(parents=True, exist_ok=True)
    command = [*python, "-m", MODULE, "--model", str(model), "--output", str(output)]
    command += ["--seconds", f"{min(COMPARING_SECONDS, seconds / 3):g}"]
    if bodies := _bodies(recorded):
        requests = output / "recorded.json"
        requests.write_text(json.dumps(bodies))
        command += ["--recorded", str(requests)]
    try:
        done = subprocess.run(command, timeout=seconds, env=dict(env), check=False)  # noqa: S603 - no shell
    except subprocess.TimeoutExpired:
        return Acceleration(_NEGATIVE, f"it did not end within {seconds:.0f} s"), None
    except OSError as error:
        return Acceleration(_NEGATIVE, f"{python[0]} does not start: {error}"), None
    report = output / REPORT
    if not report.is_file():
        return Acceleration(_NEGATIVE, _ending(done.returncode)), None
    return read(report.read_bytes(), output / MODEL)


def _ending(code: int) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the process {how} before it could say anything"


def read(report: bytes, model: Path) -> tuple[Acceleration, Path | None]:
    """What `acceleration.json` says; a verified model is the one that lies there, or the report is not believed."""
    try:
        said: Any = json.loads(report)
        outcome, message = said["outcome"], str(said.get("message", ""))
        evidence: dict[str, Any] = dict(said.get("evidence") or {})
        if outcome not in OUTCOMES or len(report) > MAX_REPORT:
            raise ValueError(f"outcome {outcome!r}, {len(report)} bytes")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return Acceleration(_NEGATIVE, f"{REPORT} cannot be read: {type(error).__name__}: {error}"), None
    if outcome != "Verified":
        return Acceleration(outcome, message, None, evidence), None
    if not model.is_file():
        return Acceleration(_NEGATIVE, f"{REPORT} calls a model verified that is not there", None, evidence), None
    return Acceleration(outcome, message, measured(model), evidence), model


def _bodies(recorded: Sequence[Remembered]) -> list[dict[str, str]]:
    """The requests of MLflow's dialect, each once."""
    found: dict[tuple[str, bytes], dict[str, str]] = {}
    for each in recorded:
        if each.dialect != MLFLOW:
            continue
        content_type = each.request.content_type or ""
        body = each.request.body
        found[content_type, body] = {"contentType": content_type, "body": b64encode(body).decode()}
    return list(found.values())
