"""An API server of the tests' own, with the CRDs of this checkout: whatever is installed elsewhere has no say here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.api_server import ApiServer, Refused, run_api_server

NAMESPACE = "modelyard-api-rules"


class Server:
    """Asks the API server what it would do, without doing it."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api

    def verdict(self, body: dict[str, Any]) -> str:
        """Return "" where it would accept the object, else its refusal."""
        return self._refusal("create", "--dry-run=server", "-f", "-", stdin=_manifest(body))

    def change(self, kind: str, name: str, patch: dict[str, Any]) -> str:
        """Return "" where it would accept a merge patch of an object, else its refusal."""
        return self._refusal(
            "-n", NAMESPACE, "patch", kind, name, "--type=merge", "--dry-run=server", "-p", json.dumps(patch)
        )

    def create(self, body: dict[str, Any]) -> None:
        self.api.kubectl("apply", "-f", "-", stdin=_manifest(body))

    def _refusal(self, *arguments: str, stdin: str | None = None) -> str:
        try:
            self.api.kubectl(*arguments, stdin=stdin)
        except Refused as refused:
            return refused.message
        return ""


def _manifest(body: dict[str, Any]) -> str:
    metadata = {"namespace": NAMESPACE, **body["metadata"]}
    return json.dumps({"apiVersion": "modelyard.dev/v1alpha1", **body, "metadata": metadata})


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_api_server(tmp_path_factory.mktemp("api-server")) as api:
        api.kubectl("create", "namespace", NAMESPACE)
        yield Server(api)
