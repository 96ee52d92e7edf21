"""Where a command reads a model's records: the artifact store itself, or the operator through the API server."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from modelyard.api.names import RECORDS_TOKEN_HEADER
from modelyard.artifacts.store import ArtifactMissing, ArtifactStore
from modelyard.cli.chain import StoredRecord
from modelyard.cli.errors import Altered, CliError
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.resources import SECRETS, SERVICES
from modelyard.registry.ledger import Ledger
from modelyard.settings import StoreSettings

OPERATOR_NAMESPACE = "modelyard-system"
"""Where the installation guide puts the operator."""

_PORT_NAME = "records"
_TOKEN_SECRET_SUFFIX = "-records"  # noqa: S105 - of a Secret's name
_OPERATOR_LABELS = "app.kubernetes.io/part-of=modelyard,app.kubernetes.io/component=operator"
_KEY = re.compile(r"^(?:.*/)?(\d{8,})\.json$")
_PAGE = 500
_EVERYTHING = 1 << 31


class Unavailable(CliError):
    """The records cannot be read this way; the message says why, and what would help."""


class Source(Protocol):
    """Reads records."""

    where: str
    """What a person calls it."""

    def records(self, namespace: str, name: str, after: int = 0) -> list[StoredRecord]:
        """Return the records of the model in the object `name` that follow `after`, in order. Raises `Unavailable`."""

    def evidence(self, namespace: str, name: str, evidence: str) -> bytes:
        """Return what a validation Job left. Raises `CliError` where there is none of that name, `Unavailable`."""

    def artifacts(self) -> str:
        """Return the directory below which the installation keeps models' files, an s3:// URI."""


class StoreSource:
    """Reads the artifact store, with the credentials of the usual AWS_* variables."""

    def __init__(self, store: ArtifactStore, settings: StoreSettings) -> None:
        self.store = store
        self._settings = settings
        self.where = "the artifact store"

    def records(self, namespace: str, name: str, after: int = 0) -> list[StoredRecord]:
        """Return the records that follow `after`. Raises `ArtifactStoreUnreachable`, `Altered`."""

        found = Ledger(self.store, namespace, name).raw(after, _EVERYTHING)
        return [StoredRecord(_sequence(key), data) for key, data in found]

    def evidence(self, namespace: str, name: str, evidence: str) -> bytes:
        """Return what a validation Job left. Raises `CliError`, `ArtifactStoreUnreachable`."""

        try:
            return self.store.get(Ledger(self.store, namespace, name).evidence_key(evidence)).data
        except ArtifactMissing as error:
            raise CliError(f"there is no evidence {evidence} of {name}") from error

    def artifacts(self) -> str:
        """Return the store's directory of artifacts."""
        return self._settings.artifacts_destination


class OperatorSource:
    """Asks the operator, through the API server's service proxy: Kubernetes decides who may."""

    def __init__(self, client: Client, namespace: str, service: str) -> None:
        self._client = client
        self._path = f"{SERVICES.path(namespace, f'{service}:{_PORT_NAME}', 'proxy')}/v1"
        self._secret = (namespace, f"{service}{_TOKEN_SECRET_SUFFIX}")
        self._token: str | None = None
        self.where = f"the operator ({namespace}/{service})"

    def records(self, namespace: str, name: str, after: int = 0) -> list[StoredRecord]:
        """Return the records that follow `after`, page by page. Raises `Unavailable`."""
        path = f"{self._path}/namespaces/{namespace}/registeredmodels/{name}/records"
        found: list[StoredRecord] = []
        while True:
            page = self._page(path, found[-1].sequence if found else after)
            if not page:
                return found
            found += page

    def evidence(self, namespace: str, name: str, evidence: str) -> bytes:
        """Return what a validation Job left. Raises `CliError`, `Unavailable`."""
        path = f"{self._path}/namespaces/{namespace}/registeredmodels/{name}/evidence/{quote(evidence, safe='')}"
        try:
            return self._read(path, [])
        except Unavailable as error:
            if isinstance(error.__cause__, NotFound):
                raise CliError(f"there is no evidence {evidence} of {name}") from error
            raise

    def artifacts(self) -> str:
        """Return the directory that the operator knows. Raises `Unavailable`."""
        return str(json.loads(self._read(f"{self._path}/store", []))["artifacts"])

    def _page(self, path: str, after: int) -> list[StoredRecord]:
        return [
            _stored(json.loads(line))
            for line in self._read(path, [("after", str(after)), ("limit", str(_PAGE))]).splitlines()
        ]

    def _read(self, path: str, query: list[tuple[str, str]]) -> bytes:
        try:
            if self._token is None:
                secret = self._client.get(SECRETS, *self._secret)
                self._token = base64.b64decode(secret["data"]["token"]).decode()
            return self._client.read(path, query, {RECORDS_TOKEN_HEADER: self._token})
        except ApiError as error:
            raise Unavailable(f"{self.where} does not give the records: {error}") from error


def find_source(client: Client, environment: Mapping[str, str], operator_namespace: str | None) -> Source:
    """Return the best source that there is: the store where the environment names one, else the operator.

    Raises `Unavailable` where there is neither, `SettingsError` where the environment's is no store.
    """
    if environment.get("MODELYARD_ARTIFACT_STORE"):
        settings = StoreSettings.from_environment(environment)
        return StoreSource(ArtifactStore(settings), settings)
    service = _operator(client, operator_namespace or environment.get("MODELYARD_OPERATOR_NAMESPACE"))
    return OperatorSource(client, *service)


def _operator(client: Client, namespace: str | None) -> tuple[str, str]:
    """Return the namespace and name of the operator's Service."""
    found, where = find_service(client, namespace, _OPERATOR_LABELS)
    if found is None:
        raise Unavailable(
            f"no Service of the operator was found in {where}; name its namespace (--operator-namespace), or the "
            "artifact store (MODELYARD_ARTIFACT_STORE and AWS credentials)"
        )
    return found["metadata"]["namespace"], found["metadata"]["name"]


def find_service(client: Client, namespace: str | None, labels: str) -> tuple[dict[str, Any] | None, str]:
    """Return a Service of the installation, and in words where it was looked for, with what was refused there."""
    refused = ""
    for place in [namespace] if namespace else [OPERATOR_NAMESPACE, None]:
        try:
            found = client.list_all(SERVICES, place, labels)
        except NotFound:
            continue
        except ApiError as error:
            refused = f": {error}"
            continue
        if found:
            return found[0], place or "the cluster"
    return None, f"{namespace or 'the cluster'}{refused}"


def _sequence(key: str) -> int:
    match = _KEY.search(key)
    if match is None:
        raise Altered(f"{key} is among the records and is none")
    return int(match[1])


def _stored(line: Mapping[str, Any]) -> StoredRecord:
    return StoredRecord(_sequence(line["key"]), base64.b64decode(line["body"]))
