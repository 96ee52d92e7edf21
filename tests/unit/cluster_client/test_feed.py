"""What fills the cache besides the watches: lists, which find what nobody told."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.names import DEPLOYMENT_LABEL, MANAGED_BY
from modelyard.cluster.cache import ObjectCache
from modelyard.cluster.client import ApiError, NotFound
from modelyard.cluster.feed import LISTED, WATCHED, Changed, Feed, kinds
from modelyard.cluster.resources import HORIZONTAL_POD_AUTOSCALERS, HTTP_ROUTES, PODS, SERVICES, ResourceType
from tests.fakes.cluster import FakeClient

Json = dict[str, Any]
OWNER = Changed(DEPLOYMENT_LABEL, "ml", "web")


def made(name: str = "web", namespace: str = "ml", **more: Any) -> Json:
    labels = {MANAGED_BY: "modelyard", DEPLOYMENT_LABEL: "web"}
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}, **more}


def fed(live: FakeClient, *namespaces: str) -> tuple[ObjectCache, Feed]:
    cache = ObjectCache(kinds())
    feed = Feed(live, cache, namespaces)
    feed.fill()
    return cache, feed


def test_at_first_everything_of_ours_is_listed() -> None:
    live = FakeClient()
    for resource in (*WATCHED, *LISTED):
        live.apply(resource, made(), "us")
    live.apply(SERVICES, {"metadata": {"namespace": "ml", "name": "other"}}, "somebody")
    cache, _ = fed(live)
    assert {kind.resource: [*cache.versions(kind.resource)] for kind in cache.kinds if kind.owner_label} == {
        resource: [("ml", "web")] for resource in (*WATCHED, *LISTED)
    }
    assert all(cache.kind(kind.resource) for kind in cache.kinds)


def test_an_installation_for_some_namespaces_lists_those() -> None:
    live = FakeClient()
    for namespace in ("ml", "risk", "other"):
        live.apply(SERVICES, made(namespace=namespace), "us")
    cache, _ = fed(live, "ml", "risk")
    assert sorted(cache.versions(SERVICES)) == [("ml", "web"), ("risk", "web")]


def refusing(resource: ResourceType, error: ApiError) -> FakeClient:
    def refuse(_: str, path: str) -> None:
        if path == resource.path(None):
            raise error

    return FakeClient(refuse)


def test_a_kind_that_the_cluster_does_not_have_hinders_nothing() -> None:
    cache, feed = fed(refusing(HTTP_ROUTES, NotFound(404, "NotFound", "the server could not find it")))
    assert cache.kind(HTTP_ROUTES) is not None
    assert cache.versions(HTTP_ROUTES) == {}
    assert feed.check(HTTP_ROUTES) == []


def test_a_kind_that_may_not_be_listed_is_not_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    cache, feed = fed(refusing(PODS, ApiError(403, "Forbidden", "pods is forbidden")))
    assert cache.kind(PODS) is None
    assert cache.kind(SERVICES) is not None
    assert feed.check(PODS) == []
    assert "pods is forbidden" in caplog.text


def test_an_api_server_that_does_not_answer_fills_nothing() -> None:
    with pytest.raises(ApiError):
        fed(refusing(SERVICES, ApiError(0, "Unreachable", "no answer")))


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"status": {"currentReplicas": 2}}, [], id="its figures"),
        pytest.param(
            {"status": {"conditions": [{"type": "ScalingActive", "status": "False"}]}}, [OWNER], id="how it does"
        ),
        pytest.param({"spec": {"maxReplicas": 9}}, [OWNER], id="what it asks for"),
        pytest.param({"metadata": {"annotations": {"a": "b"}}}, [OWNER], id="an annotation"),
    ],
)
def test_a_kind_that_is_not_watched_wakes_the_owners_of_what_others_changed(
    change: Json, changed: list[Changed]
) -> None:
    live = FakeClient()
    live.apply(HORIZONTAL_POD_AUTOSCALERS, made(spec={"maxReplicas": 3}), "us")
    cache, feed = fed(live)
    metadata = {**made()["metadata"], **change.get("metadata", {})}
    subresource = "status" if "status" in change else None
    live.apply(HORIZONTAL_POD_AUTOSCALERS, {**change, "metadata": metadata}, "somebody", subresource=subresource)
    assert feed.refresh(HORIZONTAL_POD_AUTOSCALERS) == changed
    assert feed.refresh(HORIZONTAL_POD_AUTOSCALERS) == []
    assert cache.get(HORIZONTAL_POD_AUTOSCALERS, ("ml", "web")) is not None


def test_one_that_is_new_or_gone_wakes_its_owner() -> None:
    live = FakeClient()
    _, feed = fed(live)
    live.apply(HORIZONTAL_POD_AUTOSCALERS, made(), "somebody")
    assert feed.refresh(HORIZONTAL_POD_AUTOSCALERS) == [OWNER]
    live.delete(HORIZONTAL_POD_AUTOSCALERS, "ml", "web")
    assert feed.refresh(HORIZONTAL_POD_AUTOSCALERS) == [OWNER]


def test_what_of_a_watched_kind_went_unseen_is_found_out() -> None:
    live = FakeClient()
    live.apply(SERVICES, made(), "us")
    live.apply(SERVICES, made("stays"), "us")
    cache, feed = fed(live)
    live.delete(SERVICES, "ml", "web")
    assert feed.check(SERVICES) == [OWNER]
    assert [*cache.versions(SERVICES)] == [("ml", "stays")]
    assert feed.check(SERVICES) == []


def test_looking_for_what_is_gone_reads_nothing_where_nothing_was() -> None:
    live = FakeClient()
    _, feed = fed(live)
    live.requests.clear()
    feed.check(SERVICES)
    assert live.requests == []
