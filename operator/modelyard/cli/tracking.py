"""How a command reaches the MLflow tracking server: by its URL, or through the API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from modelyard.cli.errors import CliError
from modelyard.cli.sources import find_service
from modelyard.cluster.client import Client, Json
from modelyard.cluster.service_proxy import ServiceProxy
from modelyard.decide.experiment_model import Run
from modelyard.tracking.artifacts import artifacts_path
from modelyard.tracking.client import TrackingClient, TrackingError

_LABELS = "app.kubernetes.io/part-of=modelyard,app.kubernetes.io/component=tracking"
_VARIABLE = "MLFLOW_TRACKING_URI"
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_NOT_FOUND = 404


class NoTracking(CliError):
    """The tracking server is not found; the message says where it was looked for, and what would help."""


@dataclass(frozen=True)
class Tracking:
    """The tracking server. `where` is what a person calls it."""

    client: TrackingClient
    uri: str
    where: str
    transport: httpx.BaseTransport | None = None

    def text(self, run: Run, path: str) -> str | None:
        """Return a text artifact of a run; None where there is none. Raises `TrackingError`."""
        url = f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{quote(artifacts_path(run))}/{quote(path)}"
        try:
            with httpx.Client(transport=self.transport, timeout=_TIMEOUT) as http:
                answer = http.get(url)
        except httpx.HTTPError as error:
            raise TrackingError(
                "UNREACHABLE", f"{self.where} does not answer: {error or type(error).__name__}"
            ) from error
        if answer.status_code == _NOT_FOUND:
            return None
        if not answer.is_success:
            raise TrackingError(str(answer.status_code), f"{self.where} answers {answer.status_code} for {path}")
        return answer.text


def find_tracking(client: Client, environment: Mapping[str, str], operator_namespace: str | None) -> Tracking:
    """Return the server that MLFLOW_TRACKING_URI names, else the installation's, through the API server.

    Raises `NoTracking`.
    """
    uri = environment.get(_VARIABLE, "").rstrip("/")
    if uri:
        if not uri.startswith(("http://", "https://")):
            raise NoTracking(
                f"{_VARIABLE} is {uri!r}: it has to be the http(s) address of the tracking server, or unset"
            )
        return Tracking(TrackingClient(uri), uri, f"the tracking server at {uri}")
    service = _service(client, operator_namespace or environment.get("MODELYARD_OPERATOR_NAMESPACE"))
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    port = service["spec"]["ports"][0]
    uri = f"http://{name}.{namespace}.svc:{port['port']}"
    transport = ServiceProxy(client, namespace, name, str(port.get("name") or port["port"]))
    where = f"the tracking server {namespace}/{name}"
    return Tracking(TrackingClient(uri, transport=transport), uri, where, transport)


def _service(client: Client, namespace: str | None) -> Json:
    found, where = find_service(client, namespace, _LABELS)
    if found is None:
        raise NoTracking(
            f"no Service of the tracking server was found in {where}; name its namespace (--operator-namespace), or "
            f"its address ({_VARIABLE}=http://…)"
        )
    return found
