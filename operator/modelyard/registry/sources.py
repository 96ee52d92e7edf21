"""Where a model version's bytes are: the sources that MLflow's clients give, resolved to `s3://` directories.

MLflow's schemes: https://mlflow.org/docs/latest/ml/tracking/artifact-stores/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from modelyard.registry.objects import RegistryError

_PROXY_ROUTE = "/api/2.0/mlflow-artifacts/artifacts/"
_TAKEN = "s3://…, mlflow-artifacts:/…, runs:/<run>/<path>, models:/m-<id> and models:/<name>/<version>"


class InvalidSource(RegistryError):
    """A source that no version can be registered from; the message says which ones are taken."""


@dataclass(frozen=True)
class Origin:
    """An artifact's place, as MLflow knows it (any scheme but `models:` and `runs:`), and what it came from."""

    location: str
    run_id: str | None = None
    model_id: str | None = None


class Lookup(Protocol):
    """What only MLflow's stores know. Each method raises where there is no such thing."""

    def run_artifact(self, run_id: str, path: str) -> Origin:
        """Return where the artifact of a run is: a model that it logged under that name, or else its directory."""

    def model(self, uri: str) -> Origin:
        """Return where the logged model `models:/m-<id>` or the registered version `models:/<name>/<version>` is."""


def resolve(source: str, artifacts_destination: str, lookup: Lookup) -> Origin:
    """Return the `s3://` directory that `source` stands for. Raises `InvalidSource`, and what `lookup` raises."""
    parts = urlsplit(source)
    if parts.scheme == "runs":
        run_id, _, path = parts.path.lstrip("/").partition("/")
        origin = lookup.run_artifact(run_id, path)
    elif parts.scheme == "models":
        origin = lookup.model(source)
    else:
        origin = Origin(source)
    return Origin(directory(origin.location, artifacts_destination), origin.run_id, origin.model_id)


def directory(location: str, artifacts_destination: str) -> str:
    """Return the `s3://` directory of an artifact's location (`s3:`, `mlflow-artifacts:` or its HTTP route).

    Raises `InvalidSource` for any other scheme.
    """
    parts = urlsplit(location)
    if ".." in unquote(location).split("/"):
        raise InvalidSource(f"{location!r} has a relative path in it")
    if parts.scheme == "s3" and parts.netloc:
        return location.rstrip("/")
    if parts.scheme == "mlflow-artifacts":
        path = parts.path.removeprefix(_PROXY_ROUTE)
        return f"{artifacts_destination}/{path.strip('/')}"
    if parts.scheme in ("http", "https") and _PROXY_ROUTE in parts.path:
        return f"{artifacts_destination}/{parts.path.partition(_PROXY_ROUTE)[2].strip('/')}"
    raise InvalidSource(f"a model version cannot be registered from {location!r}: sources are {_TAKEN}")


def download_uri(artifact: str, artifacts_destination: str) -> str:
    """Return the URI by which MLflow's clients get an artifact: through the tracking server where that serves it."""
    root = f"{artifacts_destination}/"
    return f"mlflow-artifacts:/{artifact.removeprefix(root)}" if artifact.startswith(root) else artifact
