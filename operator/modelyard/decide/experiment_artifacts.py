"""Where the model of a run is."""

from __future__ import annotations

from urllib.parse import urlsplit


def stored_location(uri: str, artifacts_destination: str) -> str | None:
    """Return the s3:// directory of an MLflow artifact URI, or None where it is not in an object store.

    `mlflow-artifacts:/x`, with or without a host, is `x` below the tracking server's `--artifacts-destination`.
    """
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts":
        return f"{artifacts_destination.rstrip('/')}/{parts.path.strip('/')}"
    return uri.rstrip("/") if parts.scheme == "s3" else None
