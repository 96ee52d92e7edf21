"""What verifying a version's signature came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SignatureState(StrEnum):
    """How a version's signature stands. Everything but `VALID` is a refusal, `UNKNOWN` apart."""

    VALID = "Valid"
    MISSING = "Missing"
    INVALID = "Invalid"
    """It cannot be read, or is made in a way that cannot be checked against SHA-256 of whole files."""
    WRONG_SIGNER = "WrongSigner"
    FILES_DIFFER = "FilesDiffer"
    UNKNOWN = "Unknown"
    """What it takes to verify it could not be had now."""


@dataclass(frozen=True)
class SignatureVerdict:
    """One signature's state, and a sentence that says why."""

    state: SignatureState
    message: str
