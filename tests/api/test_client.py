"""The client against a real API server: what it returns, and which error means what."""

from __future__ import annotations

from typing import Any

import kubernetes.client
import kubernetes.config
import pytest

from modelyard.api import RegisteredModel
from modelyard.cluster.cache import ObjectCache
from modelyard.cluster.cached import CachedClient
from modelyard.cluster.client import ApiError, Client, Conflict, Invalid, NotFound
from modelyard.cluster.ensure import ensure
from modelyard.cluster.feed import Feed, kinds
from modelyard.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, EVENTS, of_kind
from tests.api.conftest import NAMESPACE, Server

Json = dict[str, Any]
MODELS = of_kind(RegisteredModel)


@pytest.fixture(scope="module")
def requests() -> list[tuple[str, str]]:
    return []


@pytest.fixture(scope="module")
def client(server: Server, requests: list[tuple[str, str]]) -> Client:
    return Client(connection(server), lambda method, path: requests.append((method, path)))


def connection(server: Server) -> kubernetes.client.ApiClient:
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(server.api.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.retries = False
    return kubernetes.client.ApiClient(configuration)


def config_map(name: str, of: str = "client-tests", **data: str) -> Json:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"of": of}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_an_object_is_applied_read_listed_and_deleted(client: Client) -> None:
    client.apply(CONFIG_MAPS, config_map("life", a="1"), "tests")
    assert client.get(CONFIG_MAPS, NAMESPACE, "life")["data"] == {"a": "1"}
    listed = client.list_all(CONFIG_MAPS, NAMESPACE, "of=client-tests")
    assert [(each["kind"], each["metadata"]["name"]) for each in listed] == [("ConfigMap", "life")]
    client.delete(CONFIG_MAPS, NAMESPACE, "life")
    client.delete(CONFIG_MAPS, NAMESPACE, "life")
    assert client.find(CONFIG_MAPS, NAMESPACE, "life") is None


def test_a_field_taken_out_of_what_is_applied_goes(client: Client) -> None:
    client.apply(CONFIG_MAPS, config_map("fields", a="1", b="2"), "tests")
    body = client.apply(CONFIG_MAPS, config_map("fields", a="1"), "tests")
    assert body["data"] == {"a": "1"}


def test_an_object_that_is_as_it_should_be_costs_no_request(client: Client, requests: list[tuple[str, str]]) -> None:
    live = ensure(client, config_map("ensured", a="1"), None)
    requests.clear()
    assert ensure(client, config_map("ensured", a="1"), live) == live
    assert requests == []
    ensure(client, config_map("ensured", a="2"), live)
    assert [method for method, _ in requests] == ["PATCH"]


def test_defaults_of_the_server_are_no_drift(client: Client, requests: list[tuple[str, str]]) -> None:
    container = {
        "name": "c",
        "image": "x:1",
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "defaults", "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]},
            },
        },
    }
    ensure(client, manifest, None)
    live = client.get(DEPLOYMENTS, NAMESPACE, "defaults")
    assert live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}
    requests.clear()
    ensure(client, manifest, live)
    assert requests == []


def test_what_is_not_known_is_created_and_never_taken_over(client: Client) -> None:
    cached = CachedClient(client, filled(client))
    made = cached.apply(MODELS, model("unknown", description="ours"), "tests")
    assert made["spec"]["description"] == "ours"
    client.apply(MODELS, model("taken", description="theirs"), "somebody")
    with pytest.raises(Conflict):
        cached.apply(MODELS, model("taken", description="ours"), "tests")
    assert cached.get(MODELS, NAMESPACE, "taken")["spec"]["description"] == "theirs"


def filled(client: Client) -> ObjectCache:
    """Return a cache of what there is now."""
    cache = ObjectCache(kinds())
    Feed(client, cache).fill()
    return cache


def test_names_are_listed_alone(client: Client) -> None:
    assert client.list_names(CONFIG_MAPS, NAMESPACE, "of=nothing-yet") == set()
    for name in ("names-a", "names-b"):
        client.apply(CONFIG_MAPS, config_map(name, of="names"), "tests")
    assert client.list_names(CONFIG_MAPS, NAMESPACE, "of=names") == {(NAMESPACE, "names-a"), (NAMESPACE, "names-b")}


def test_what_a_finalizer_holds_is_still_there_after_it_was_deleted(client: Client) -> None:
    held = config_map("held")
    client.apply(CONFIG_MAPS, {**held, "metadata": {**held["metadata"], "finalizers": ["modelyard.dev/test"]}}, "tests")
    left = client.delete(CONFIG_MAPS, NAMESPACE, "held")
    assert left is not None
    assert left["metadata"]["deletionTimestamp"]
    client.apply(CONFIG_MAPS, held, "tests")
    assert client.find(CONFIG_MAPS, NAMESPACE, "held") is None
    client.apply(CONFIG_MAPS, config_map("free"), "tests")
    assert client.delete(CONFIG_MAPS, NAMESPACE, "free") is None


def test_a_long_list_comes_whole(client: Client) -> None:
    names = {f"page-{number:03d}" for number in range(30)}
    for name in names:
        client.apply(CONFIG_MAPS, config_map(name, of="pages"), "tests")
    listed = client.list_all(CONFIG_MAPS, NAMESPACE, "of=pages", page_size=7)
    assert {each["metadata"]["name"] for each in listed} == names


def test_events_are_listed_by_a_field(client: Client) -> None:
    for name, kind in (("fields-normal", "Normal"), ("fields-warning", "Warning")):
        client.create(EVENTS, NAMESPACE, event(name, kind), "tests")
    warnings = client.list_all(EVENTS, NAMESPACE, fields="type=Warning")
    names = {each["metadata"]["name"] for each in warnings}
    assert "fields-warning" in names
    assert "fields-normal" not in names


def event(name: str, kind: str) -> Json:
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": kind,
        "reason": "FailedCreate",
        "action": "Create",
        "regarding": {"kind": "Job", "name": "a", "namespace": NAMESPACE},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "tests",
        "reportingInstance": "tests-0",
    }


def model(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": MODELS.api_version,
        "kind": MODELS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def test_a_status_written_over_a_newer_object_is_a_conflict(client: Client) -> None:
    read = client.apply(MODELS, model("conflict", stages={"production": 1}), "tests")
    client.merge_patch(MODELS, NAMESPACE, "conflict", {"spec": {"stages": {"production": 2}}}, "someone")
    with pytest.raises(Conflict, match="the object has been modified"):
        client.replace_status(MODELS, {**read, "status": {"latestVersion": 1}}, "tests")


def test_a_patch_of_a_version_that_is_not_the_newest_is_a_conflict(client: Client) -> None:
    read = client.apply(MODELS, model("stale"), "tests")
    patch = {"metadata": {"resourceVersion": read["metadata"]["resourceVersion"]}, "spec": {"description": "a"}}
    client.merge_patch(MODELS, NAMESPACE, "stale", patch, "tests")
    with pytest.raises(Conflict):
        client.merge_patch(MODELS, NAMESPACE, "stale", patch | {"spec": {"description": "b"}}, "tests")


def test_creating_what_exists_is_a_conflict(client: Client) -> None:
    client.apply(CONFIG_MAPS, config_map("twice"), "tests")
    with pytest.raises(Conflict) as raised:
        client.create(CONFIG_MAPS, NAMESPACE, config_map("twice"), "tests")
    assert raised.value.reason == "AlreadyExists"


def test_what_breaks_a_rule_is_invalid_and_the_words_are_the_servers(client: Client) -> None:
    with pytest.raises(Invalid, match=r"unknown stage: spec\.stages takes staging and production"):
        client.apply(MODELS, model("invalid", stages={"prod": 1}), "tests")


def test_what_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        client.get(CONFIG_MAPS, NAMESPACE, "nothing")


def test_a_server_that_does_not_answer_is_unreachable(server: Server) -> None:
    api = connection(server)
    # The hook would read the address again from the kubeconfig.
    api.configuration.refresh_api_key_hook = None
    api.configuration.host = "https://127.0.0.1:1"
    with pytest.raises(ApiError) as raised:
        Client(api).get(CONFIG_MAPS, NAMESPACE, "x")
    assert (raised.value.code, raised.value.reason) == (0, "Unreachable")
