"""HTTP to a Service of the cluster from outside it, through the API server's proxy: Kubernetes decides who may.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import json

import httpx

from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.resources import SERVICES

_PASSED_ON = ("accept", "content-type")


class ServiceProxy(httpx.BaseTransport):
    """Brings requests to a port of a Service; the URL's host is what the Service sees as the host it is asked for.

    What the API server itself refuses raises `httpx.ConnectError`: the Service has not been reached then.
    """

    def __init__(self, client: Client, namespace: str, service: str, port: str) -> None:
        self._client = client
        self._path = SERVICES.path(namespace, f"{service}:{port}", "proxy")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        path, _, query = request.url.raw_path.decode().partition("?")
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        headers["host"] = request.headers["host"]
        try:
            status, body = self._client.forward(request.method, self._path + path, query, request.read(), headers)
        except ApiError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        if status >= 400 and (message := _refusal(body)):
            raise httpx.ConnectError(message, request=request)
        return httpx.Response(status, content=body, request=request)


def _refusal(body: bytes) -> str | None:
    """Return what the API server says, where it is the one that answers: with a `metav1.Status`."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    if not isinstance(answer, dict) or answer.get("kind") != "Status" or answer.get("apiVersion") != "v1":
        return None
    return str(answer.get("message") or answer.get("reason") or "the API server refuses")
