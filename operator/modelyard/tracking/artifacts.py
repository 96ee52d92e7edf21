"""Where artifacts are on the tracking server's artifact proxy.

REST: `PUT` and `DELETE /api/2.0/mlflow-artifacts/artifacts/<path>`, as MLflow 3.17 serves them; a run's artifact URI is
`mlflow-artifacts:/<path>`, `mlflow-artifacts://<host>/<path>`, or that route itself.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from modelyard.decide.experiment_model import Run
from modelyard.tracking.answers import LoggedModel, TrackingError

_ROUTE = "/api/2.0/mlflow-artifacts/artifacts/"


class ArtifactsNotServed(TrackingError):
    """Artifacts that are not behind the tracking server; the message says where they are."""


def artifacts_path(run: Run) -> str:
    """Return the path of a run's artifacts on the proxy. Raises `ArtifactsNotServed`."""
    return _path(f"run {run.name or run.run_id}", run.artifact_uri, run.run_id)


def model_path(model: LoggedModel) -> str:
    """Return the path of a logged model's directory on the proxy. Raises `ArtifactsNotServed`."""
    return _path(f"model {model.name or model.model_id}", model.artifact_location, model.model_id)


def _path(whose: str, uri: str, owner: str) -> str:
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.scheme in ("http", "https"):
        path = path.partition(_ROUTE)[2]
    elif parts.scheme == "mlflow-artifacts":
        path = path.removeprefix(_ROUTE)
    else:
        path = ""
    segments = path.strip("/").split("/")
    # What is deleted here is a whole directory: it has to be this owner's own, whatever the server says.
    if owner not in segments or ".." in segments:
        raise ArtifactsNotServed(
            "ARTIFACTS_NOT_SERVED",
            f"the artifacts of {whose} are at {uri or 'no place'!r}, which the tracking server's artifact proxy does"
            " not serve",
        )
    return "/".join(segments)
