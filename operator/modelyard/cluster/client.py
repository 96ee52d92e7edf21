"""A small typed client: objects are plain dictionaries, paths come from `resources`, every call has a timeout.

It stands on the official client's `ApiClient`, which brings authentication, TLS and connection pooling. The generated
classes are not used: they drop fields that they do not know, and server-side apply needs the object as it was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import kubernetes.client
import kubernetes.config
import urllib3

from modelyard.cluster.resources import SELF_SUBJECT_REVIEWS, ResourceType

Json = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-metadata"""

_TIMEOUT = urllib3.Timeout(connect=5, read=30)


class ApiError(Exception):
    """The API server refused a request.

    `code` is the HTTP status (0 where it could not be reached), `reason` the machine-readable one
    (`Conflict`, `NotFound`, `Invalid`, …), `details` the `details` of the returned `metav1.Status`.
    """

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}


class NotFound(ApiError):
    """404: there is no such object (or no such resource)."""


class Conflict(ApiError):
    """409: the object has changed since it was read, exists already, or somebody else owns a field."""


class Invalid(ApiError):
    """422: the object breaks a rule of its schema."""


_ERRORS: dict[int, type[ApiError]] = {404: NotFound, 409: Conflict, 422: Invalid}
_UNTYPED = "failed to create typed patch object"
"""What the API server says, with status 500, of an applied object that has fields that it does not know."""


def connect(connections: int = 10) -> kubernetes.client.ApiClient:
    """Return an `ApiClient` for the cluster this process runs in, else for the one that KUBECONFIG names.

    `connections` is how many are kept open: as many as threads use it at a time, or each further request would open
    one of its own.
    """
    try:
        kubernetes.config.load_incluster_config()  # type: ignore[no-untyped-call]
    except kubernetes.config.ConfigException:
        kubernetes.config.load_kube_config()  # type: ignore[no-untyped-call]
    configuration = kubernetes.client.Configuration.get_default_copy()
    # Retrying inside the transport would hide faults and could repeat a write.
    configuration.retries = False
    configuration.connection_pool_maxsize = connections
    return kubernetes.client.ApiClient(configuration)


class Client:
    """Reads and writes objects. `on_request`, if given, is called with (method, path) before every request."""

    def __init__(
        self,
        api_client: kubernetes.client.ApiClient,
        on_request: Callable[[str, str], None] | None = None,
    ) -> None:
        self._api = api_client
        self._on_request = on_request

    def get(self, resource: ResourceType, namespace: str | None, name: str) -> Json:
        """Return the object; `namespace` is None for one of the whole cluster. Raises `NotFound`."""
        return self._call("GET", resource.path(namespace, name))

    def find(self, resource: ResourceType, namespace: str, name: str) -> Json | None:
        """Return the object, or None where there is none."""
        try:
            return self.get(resource, namespace, name)
        except NotFound:
            return None

    def list_all(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        page_size: int = 500,
    ) -> list[Json]:
        """Return all objects of a namespace (of all, if None), with the selectors that are given, page by page."""
        return list(self.each(resource, namespace, labels, fields=fields, page_size=page_size))

    def each(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Json]:
        """Give the objects that `list_all` returns, with one page of them in memory at a time."""
        # Lists leave out what every item has in common.
        common = {"apiVersion": resource.api_version, "kind": resource.kind}
        for item in self._pages(resource, namespace, labels, page_size, fields):
            yield {**common, **item}

    def _pages(
        self,
        resource: ResourceType,
        namespace: str | None,
        labels: str | None,
        page_size: int,
        fields: str | None = None,
        *,
        accept: str = "application/json",
    ) -> Iterator[Json]:
        selectors = (("labelSelector", labels), ("fieldSelector", fields))
        query = [("limit", str(page_size)), *((key, value) for key, value in selectors if value)]
        more: list[tuple[str, str]] = []
        while True:
            answer = self._request("GET", resource.path(namespace), query=query + more, headers={"Accept": accept})
            page = json.loads(answer)
            # Of metadata alone, an empty list is null.
            yield from page["items"] or ()
            token = page["metadata"].get("continue")
            if not token:
                return
            more = [("continue", token)]

    def list_names(
        self, resource: ResourceType, namespace: str | None = None, labels: str | None = None
    ) -> set[tuple[str, str]]:
        """Return (namespace, name) of all objects, which is all that the API server is asked for."""
        return {
            (item["metadata"].get("namespace", ""), item["metadata"]["name"])
            for item in self._pages(resource, namespace, labels, 500, accept=METADATA_ONLY)
        }

    def create(self, resource: ResourceType, namespace: str, body: Json, field_manager: str) -> Json:
        """Create the object. Raises `Conflict` where one of that name exists, `Invalid` where it breaks a rule."""
        return self._call(
            "POST",
            resource.path(namespace),
            body=body,
            query=[("fieldManager", field_manager)],
        )

    def apply(
        self,
        resource: ResourceType,
        body: Json,
        field_manager: str,
        *,
        subresource: str | None = None,
    ) -> Json:
        """Server-side apply, with force: fields that the operator sets are the operator's."""
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"], subresource)
        return self._call(
            "PATCH",
            path,
            body=body,
            query=[("fieldManager", field_manager), ("force", "true")],
            content_type=APPLY,
        )

    def merge_patch(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        patch: Json,
        field_manager: str,
    ) -> Json:
        """JSON merge patch.

        With `metadata.resourceVersion` in it, `Conflict` is raised if the object has changed since.
        """
        return self._call(
            "PATCH",
            resource.path(namespace, name),
            body=patch,
            query=[("fieldManager", field_manager)],
            content_type=MERGE,
        )

    def replace_status(self, resource: ResourceType, body: Json, field_manager: str) -> Json:
        """Replace the status of the object as it was read. Raises `Conflict` if it has changed since."""
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"], "status")
        return self._call("PUT", path, body=body, query=[("fieldManager", field_manager)])

    def delete(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
    ) -> Json | None:
        """Delete in the background; deleting what is gone (or, with `uid`, was replaced) is no error.

        Return the object where it is still there: a finalizer or its period of grace holds it.
        """
        options: Json = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            answer = self._call("DELETE", resource.path(namespace, name), body=options)
        except (NotFound, Conflict):
            return None
        # Some kinds answer with what they were when they went; what stays for a while says so.
        return answer if answer.get("metadata", {}).get("deletionTimestamp") else None

    def read(
        self,
        path: str,
        query: list[tuple[str, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Return what is at a path that is no object: a pod's log, or what a Service answers through the proxy."""
        return self._request("GET", path, query=query, headers=headers)

    def forward(self, method: str, path: str, query: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Pass a request on through the proxy; return the status and the body of the answer, whatever it is.

        `query` is encoded already. Raises `ApiError` where the API server does not answer.
        """
        if self._on_request:
            self._on_request(method, path)
        sent = {**self._api.default_headers, **headers}
        self._api.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + quote(path, safe="/:%") + (f"?{query}" if query else "")
        response = self._send(method, url, body or None, sent)
        return response.status, response.data

    def user_info(self) -> Json:
        """Return whom the API server takes this client for: `username`, `groups`, …"""
        path = SELF_SUBJECT_REVIEWS.path(None)
        review = {"apiVersion": SELF_SUBJECT_REVIEWS.api_version, "kind": SELF_SUBJECT_REVIEWS.kind}
        answer: Json = self._call("POST", path, body=review)["status"]["userInfo"]
        return answer

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: list[tuple[str, str]] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        answer: Json = json.loads(self._request(method, path, body=body, query=query, content_type=content_type))
        return answer

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: list[tuple[str, str]] | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> bytes:
        if self._on_request:
            self._on_request(method, path)
        sent = {
            **self._api.default_headers,
            "Accept": "application/json",
            "Content-Type": content_type,
            **(headers or {}),
        }
        # `call_api` would copy the body field by field first: a fifth of a request's cost.
        self._api.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + quote(path) + (f"?{urlencode(query)}" if query else "")
        response = self._send(
            method, url, None if body is None else json.dumps(body, separators=(",", ":")).encode(), sent
        )
        if response.status >= 300:
            raise _error(response.status, response.data, str(response.reason))
        data: bytes = response.data
        return data

    def _send(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._api.rest_client.pool_manager.request(
                method, url, body=body, headers=headers, timeout=_TIMEOUT, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            path = url.removeprefix(self._api.configuration.host).partition("?")[0]
            raise ApiError(0, "Unreachable", f"the API server did not answer {method} {path}: {error}") from error


def _error(code: int, body: str | bytes | None, fallback: str) -> ApiError:
    try:
        status = json.loads(body or b"{}")
    except ValueError:
        status = {}
    reason, message = status.get("reason", ""), status.get("message") or fallback
    if message.startswith(_UNTYPED):
        code, reason = 422, "Invalid"
    kind = _ERRORS.get(code, ApiError)
    return kind(code, reason, message, status.get("details"))
