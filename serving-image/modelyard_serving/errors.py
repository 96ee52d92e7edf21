"""The two ways to fail: at start-up, told to Kubernetes, and in a request, told to the client."""

from __future__ import annotations

import json
from enum import StrEnum


class Reason(StrEnum):
    """Why the server cannot start: the word before the colon in the pod's termination message."""

    CONFIG_INVALID = "ConfigInvalid"
    """An environment variable is missing or malformed; the message names it."""
    ARTIFACT_NOT_FOUND = "ArtifactNotFound"
    """The bucket does not exist, or nothing lies below the prefix."""
    ARTIFACT_ACCESS_DENIED = "ArtifactAccessDenied"
    """The store refuses the credentials, or there are none."""
    ARTIFACT_STORE_UNREACHABLE = "ArtifactStoreUnreachable"
    """The store does not answer, answers too late, or answers with a server error."""
    DIGEST_MISMATCH = "DigestMismatch"
    """The files are not those that were registered; the message gives both digests."""
    MODEL_INVALID = "ModelInvalid"
    """No MLmodel file, or one that cannot be understood."""
    UNSUPPORTED_FLAVOR = "UnsupportedFlavor"
    """None of the model's flavors can be served; the message lists both sides."""
    MISSING_DEPENDENCY = "MissingDependency"
    """The model needs a Python module that this image does not hold; the message names it."""
    REQUIREMENTS_DIFFER = "RequirementsDiffer"
    """The model asks for other libraries than there are, and may not or cannot have its own; the message lists them."""
    ENVIRONMENT_FAILED = "EnvironmentFailed"
    """The model's own environment could not be made; the message says why, and what differs from the image."""
    LOAD_FAILED = "LoadFailed"
    """Anything else that goes wrong between the downloaded files and a model that can predict."""


class StartupError(Exception):
    """The server cannot become ready, now or by waiting."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message

    @property
    def line(self) -> str:
        """`REASON: message` on one line, short enough for a termination message (4096 bytes)."""
        return " ".join(str(self).split())[:1500]


class ErrorCode(StrEnum):
    """The error codes of MLflow's REST dialect that this server uses."""

    BAD_REQUEST = "BAD_REQUEST"
    INVALID_PARAMETER_VALUE = "INVALID_PARAMETER_VALUE"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    RESOURCE_CONFLICT = "RESOURCE_CONFLICT"
    ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    TEMPORARILY_UNAVAILABLE = "TEMPORARILY_UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"


class Rejection(StrEnum):
    """Why a request was turned away that a server with more time or room would have answered."""

    QUEUE = "queue"
    """Too many wait already."""
    MEMORY = "memory"
    """Too many bytes of requests are held already."""
    DEADLINE = "deadline"
    """It could not be answered in time."""
    TOO_LONG = "too_long"
    """Its body, or its headers, are longer than allowed."""
    SLOW = "slow"
    """Its body, or its headers, did not arrive in time."""
    CONNECTIONS = "connections"
    """Too many connections are open."""


MAX_MESSAGE_CHARS = 4000
"""Many messages repeat what was sent; a longer one is cut off."""


class RequestError(Exception):
    """A request that is answered with an error. Its code is one of MLflow's; other protocols have the status alone."""

    def __init__(
        self,
        message: str,
        code: ErrorCode = ErrorCode.BAD_REQUEST,
        status: int = 400,
        *,
        retry_after: int | None = None,
        rejection: Rejection | None = None,
    ) -> None:
        """`retry_after`: seconds, for the header of that name. `rejection`: what it counts as in the metrics."""
        if len(message) > MAX_MESSAGE_CHARS:
            message = f"{message[:MAX_MESSAGE_CHARS]}…"
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.rejection = rejection

    def body(self) -> bytes:
        """`{"error_code": …, "message": …}` as UTF-8 JSON."""
        return json.dumps({"error_code": self.code, "message": self.message}).encode()


def invalid_input(message: str) -> RequestError:
    """The payload cannot be read as data: 400 BAD_REQUEST, with the prefix MLflow gives such messages."""
    return RequestError(f"Invalid input. {message}")


class SchemaError(Exception):
    """Data that was read does not satisfy the model's signature; the caller says which data and which schema."""
