"""`preparation.json`: what was found of a version. The operator reads it as `modelyard.decide.preparation` says.

{"schemaVersion": 1, "digest": "sha256:…", "python": "3.12.8", "image": "…",
 "environment": {"needed": bool, "differences": […], "archive": {"sha256", "bytes"} | null, "error": str | null},
 "acceleration": {"outcome": "Verified" | "AnswersDiffer" | "NotConvertible" | "Failed", "message": str,
                  "model": {"sha256", "bytes"} | null, "evidence": {…}}}
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from modelyard_serving.preparation.upload import Uploaded

SCHEMA_VERSION = 1
OUTCOMES = ("Verified", "AnswersDiffer", "NotConvertible", "Failed")
MAX_MESSAGE = 2000


@dataclass(frozen=True)
class Environment:
    """Whether the image's libraries do, and what was built where they do not."""

    needed: bool = False
    differences: tuple[str, ...] = ()
    archive: Uploaded | None = None
    error: str | None = None


@dataclass(frozen=True)
class Acceleration:
    """What came of the conversion; `model` only where it was verified."""

    outcome: str
    message: str = ""
    model: Uploaded | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


def document(digest: str, image: str, environment: Environment, acceleration: Acceleration) -> bytes:
    """The file."""
    assert acceleration.outcome in OUTCOMES
    said = {
        "schemaVersion": SCHEMA_VERSION,
        "digest": digest,
        "python": platform.python_version(),
        "image": image,
        "environment": {
            "needed": environment.needed,
            "differences": list(environment.differences),
            "archive": asdict(environment.archive) if environment.archive else None,
            "error": environment.error[:MAX_MESSAGE] if environment.error else None,
        },
        "acceleration": {
            "outcome": acceleration.outcome,
            "message": acceleration.message[:MAX_MESSAGE],
            "model": asdict(acceleration.model) if acceleration.model else None,
            "evidence": dict(acceleration.evidence),
        },
    }
    return json.dumps(said, indent=1, allow_nan=False).encode() + b"\n"
