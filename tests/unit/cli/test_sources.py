"""Where records are read: the store, the operator by its Service, or nowhere, with the reason."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from modelyard.api.names import RECORDS_TOKEN_HEADER
from modelyard.cli.chain import StoredRecord
from modelyard.cli.errors import Altered, CliError
from modelyard.cli.sources import OperatorSource, StoreSource, Unavailable, find_source
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.resources import SECRETS, SERVICES, ResourceType
from tests.unit.cli.logs import registered, stored

Json = dict[str, Any]
LOG = stored(*(registered(number) for number in range(1, 6)))
RECORDS = (
    "/api/v1/namespaces/system/services/yard-operator:records/proxy/v1/namespaces/ml/registeredmodels/churn/records"
)


class Server(Client):
    """An API server with the operator's Service in `namespace`, which serves pages of two records of `log`."""

    def __init__(self, namespace: str = "system", log: list[StoredRecord] | None = None) -> None:
        self.namespace = namespace
        self.log = LOG if log is None else log
        self.asked: list[str | None] = []
        self.pages: list[tuple[str, list[tuple[str, str]]]] = []
        self.refused: set[str] = set()
        self.keys: dict[int, str] = {}

    def list_all(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,  # noqa: ARG002 - nothing is chosen by fields
        page_size: int = 500,  # noqa: ARG002 - one page holds it all
    ) -> list[Json]:
        assert resource == SERVICES
        assert labels == "app.kubernetes.io/part-of=modelyard,app.kubernetes.io/component=operator"
        self.asked.append(namespace)
        if "list" in self.refused:
            raise ApiError(403, "Forbidden", "services is forbidden")
        if namespace not in (None, self.namespace):
            return []
        return [{"metadata": {"namespace": self.namespace, "name": "yard-operator"}}]

    def get(self, resource: ResourceType, namespace: str | None, name: str) -> Json:
        assert (resource, namespace, name) == (SECRETS, "system", "yard-operator-records")
        if "secret" in self.refused:
            raise ApiError(403, "Forbidden", "secrets is forbidden")
        return {"data": {"token": base64.b64encode(b"letmein").decode()}}

    def read(
        self, path: str, query: list[tuple[str, str]] | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        assert headers == {RECORDS_TOKEN_HEADER: "letmein"}
        self.pages.append((path, query or []))
        if path != RECORDS:
            raise NotFound(404, "NotFound", "there is no such evidence")
        after = int(dict(query or [])["after"])
        page = [record for record in self.log if record.sequence > after][:2]
        return b"".join(
            json.dumps(
                {
                    "key": self.keys.get(record.sequence, f"{record.sequence:08d}.json"),
                    "body": base64.b64encode(record.data).decode(),
                }
            ).encode()
            + b"\n"
            for record in page
        )


def test_the_operators_records_are_read_page_by_page_with_the_secrets_token() -> None:
    server = Server()
    assert OperatorSource(server, "system", "yard-operator").records("ml", "churn") == LOG
    assert [dict(query)["after"] for _, query in server.pages] == ["0", "2", "4", "5"]


def test_only_what_follows_a_record_is_read() -> None:
    assert OperatorSource(Server(), "system", "yard-operator").records("ml", "churn", 3) == LOG[3:]


@pytest.mark.parametrize("key", ["x.json", "1.json", "00000003.json.bak", "zzz"])
def test_a_record_under_a_key_of_nobodys_is_tampering(key: str) -> None:
    server = Server()
    server.keys[3] = key
    with pytest.raises(Altered, match="is among the records and is none"):
        OperatorSource(server, "system", "yard-operator").records("ml", "churn")


def test_who_may_not_is_told_so() -> None:
    server = Server()
    server.refused.add("secret")
    with pytest.raises(
        Unavailable, match=r"the operator \(system/yard-operator\) does not give the records: secrets is"
    ):
        OperatorSource(server, "system", "yard-operator").records("ml", "churn")


def test_evidence_that_there_is_not() -> None:
    with pytest.raises(CliError, match=r"there is no evidence a/b\.log of churn") as missing:
        OperatorSource(server := Server(), "system", "yard-operator").evidence("ml", "churn", "a/b.log")
    assert not isinstance(missing.value, Unavailable)
    assert server.pages[0][0].endswith("/evidence/a%2Fb.log")


@pytest.mark.parametrize(
    ("where", "given", "environment", "asked"),
    [
        ("modelyard-system", None, {}, ["modelyard-system"]),
        ("system", None, {}, ["modelyard-system", None]),
        ("system", "system", {}, ["system"]),
        ("system", None, {"MODELYARD_OPERATOR_NAMESPACE": "system"}, ["system"]),
    ],
)
def test_where_the_operator_is_looked_for(
    where: str, given: str | None, environment: dict[str, str], asked: list[str | None]
) -> None:
    server = Server(where)
    assert find_source(server, environment, given).where == f"the operator ({where}/yard-operator)"
    assert server.asked == asked


def test_where_there_is_no_operator_the_ways_out_are_named() -> None:
    with pytest.raises(Unavailable, match=r"no Service of the operator was found in elsewhere; name its namespace"):
        find_source(Server(), {}, "elsewhere")
    server = Server()
    server.refused.add("list")
    with pytest.raises(Unavailable, match=r"was found in the cluster: services is forbidden"):
        find_source(server, {}, None)


def test_a_store_in_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    source = find_source(Server(), {"MODELYARD_ARTIFACT_STORE": "s3://models/team"}, None)
    assert isinstance(source, StoreSource)
    assert source.artifacts() == "s3://models/team/artifacts"
