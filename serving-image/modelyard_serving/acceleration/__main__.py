"""`python -m modelyard_serving.acceleration --model DIR --output DIR [--recorded FILE] [--seconds N]`.

Writes `acceleration.json` into the output directory, whatever comes of it, and `model.onnx` if it is verified.
FILE is a JSON list of requests to /invocations, each `{"contentType": …, "body": …}`, the body in base64.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

MODEL, REPORT = "model.onnx", "acceleration.json"


def main(arguments: list[str] | None = None) -> int:
    """The process's exit code: 0 whenever acceleration.json was written."""
    # One thread as in a serving process, and before numpy and its like are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from modelyard_serving.acceleration.accelerate import SECONDS, Limits, accelerate  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="modelyard_serving.acceleration", description="Converts a model to ONNX.")
    parser.add_argument("--model", type=Path, required=True, help="the directory with the MLmodel file")
    parser.add_argument("--output", type=Path, required=True, help="where model.onnx and acceleration.json go")
    parser.add_argument("--recorded", type=Path, help="a JSON list of recorded requests")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="what comparing may take")
    options = parser.parse_args(arguments)
    result = accelerate(options.model, options.recorded, Limits(options.seconds), _say)
    options.output.mkdir(parents=True, exist_ok=True)
    if result.content is not None:
        (options.output / MODEL).write_bytes(result.content)
    (options.output / REPORT).write_text(json.dumps(result.document(), indent=2) + "\n")
    _say(f"{result.outcome}: {result.message}")
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"acceleration: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
