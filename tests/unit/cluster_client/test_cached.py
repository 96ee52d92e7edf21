"""The client that answers from memory: what it asks the API server, and what it never does."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.names import DEPLOYMENT_LABEL, MANAGED_BY
from modelyard.cluster.cache import ObjectCache
from modelyard.cluster.cached import CachedClient
from modelyard.cluster.client import Conflict, NotFound
from modelyard.cluster.feed import Feed, kinds
from modelyard.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, SECRETS, SERVICES, ResourceType
from tests.fakes.cluster import FakeClient

Json = dict[str, Any]
LABELS = {MANAGED_BY: "modelyard", DEPLOYMENT_LABEL: "web"}
OWN = f"{DEPLOYMENT_LABEL}=web"


class World:
    """An API server, a cache that knows what there was at the start, and a client of both."""

    def __init__(self, *present: Json) -> None:
        self.live, self.now = FakeClient(), 1000.0
        for body in present:
            self.live.apply(resource_of(body), body, "somebody")
        cache = ObjectCache(kinds())
        Feed(self.live, cache).fill()
        self.client = CachedClient(self.live, cache, lambda: self.now)
        self.live.requests.clear()

    @property
    def requests(self) -> list[str]:
        """The methods of what was asked for since the last look."""
        methods = [method for method, _ in self.live.requests]
        self.live.requests.clear()
        return methods


def resource_of(body: Json) -> ResourceType:
    known = {each.kind: each for each in (SERVICES, SECRETS, CONFIG_MAPS, DEPLOYMENTS, PODS)}
    return known[body["kind"]]


def made(kind: str = "Service", name: str = "web", *, labels: Json | None = None, **more: Any) -> Json:
    metadata = {"namespace": "ml", "name": name, "labels": LABELS if labels is None else labels}
    return {"kind": kind, "metadata": metadata, **more}


def test_what_is_chosen_by_a_field_is_asked_for() -> None:
    world = World(made(name="a", type="x"), made(name="b", type="y"))
    assert [each["metadata"]["name"] for each in world.client.list_all(SERVICES, "ml", OWN, fields="type=y")] == ["b"]
    assert [each["metadata"]["name"] for each in world.client.each(SERVICES, "ml", OWN, fields="type=x")] == ["a"]
    assert world.requests == ["GET", "GET"]


def test_what_is_known_costs_no_request() -> None:
    world = World(made(spec={"a": 1}))
    assert world.client.get(SERVICES, "ml", "web")["spec"] == {"a": 1}
    assert len(world.client.list_all(SERVICES, "ml", OWN)) == 1
    assert world.client.find(SERVICES, "ml", "other") is None
    with pytest.raises(NotFound):
        world.client.get(DEPLOYMENTS, "ml", "web")
    assert world.requests == []


@pytest.mark.parametrize(
    ("resource", "labels"),
    [(CONFIG_MAPS, OWN), (PODS, "modelyard.dev/experiment=e"), (PODS, None)],
    ids=["a kind that is not held", "objects that are not held", "all objects of a kind"],
)
def test_what_is_not_held_is_asked_for(resource: ResourceType, labels: str | None) -> None:
    world = World()
    world.client.list_all(resource, "ml", labels)
    assert world.requests == ["GET"]


def test_one_sees_what_one_has_written() -> None:
    world = World()
    world.client.apply(SERVICES, made(spec={"a": 1}), "us")
    assert world.client.get(SERVICES, "ml", "web")["spec"] == {"a": 1}
    world.client.apply(SERVICES, made(status={"b": 1}), "us", subresource="status")
    world.client.merge_patch(SERVICES, "ml", "web", {"spec": {"a": 2}}, "us")
    assert world.client.list_all(SERVICES, "ml", OWN)[0]["spec"] == {"a": 2}
    world.client.replace_status(SERVICES, {**world.client.get(SERVICES, "ml", "web"), "status": {"b": 2}}, "us")
    assert world.client.get(SERVICES, "ml", "web")["status"] == {"b": 2}
    world.client.delete(SERVICES, "ml", "web")
    assert world.client.find(SERVICES, "ml", "web") is None
    assert "GET" not in world.requests


def test_an_object_of_somebody_elses_is_not_taken_over() -> None:
    world = World(made(labels={}, spec={"theirs": 1}))
    assert world.client.find(SERVICES, "ml", "web") is None
    with pytest.raises(Conflict):
        world.client.apply(SERVICES, made(spec={"ours": 1}), "us")
    found = world.client.get(SERVICES, "ml", "web")
    assert found["spec"] == {"theirs": 1}, "the next look finds it"


def test_an_object_of_ours_that_lost_its_labels_gets_them_back() -> None:
    world = World(made(labels={}, spec={"ours": 1}))
    with pytest.raises(Conflict):
        world.client.apply(SERVICES, made(), "us")
    world.client.apply(SERVICES, made(), "us")
    assert world.live.get(SERVICES, "ml", "web")["metadata"]["labels"] == LABELS
    world.live.requests.clear()
    assert world.client.list_all(SERVICES, "ml", OWN)
    assert world.requests == []


def test_a_stranger_is_looked_at_again_after_a_while() -> None:
    world = World(made(labels={}))
    with pytest.raises(Conflict):
        world.client.apply(SERVICES, made(), "us")
    world.live.delete(SERVICES, "ml", "web")
    assert world.client.find(SERVICES, "ml", "web") is not None
    world.now += 61
    assert world.client.find(SERVICES, "ml", "web") is None
    world.client.apply(SERVICES, made(), "us")


def test_after_a_conflict_the_object_is_what_it_is_now() -> None:
    world = World(made(spec={"a": 1}))
    read = world.client.get(SERVICES, "ml", "web")
    world.live.merge_patch(SERVICES, "ml", "web", {"spec": {"a": 2}}, "somebody")
    with pytest.raises(Conflict):
        world.client.replace_status(SERVICES, {**read, "status": {}}, "us")
    assert world.client.get(SERVICES, "ml", "web")["spec"] == {"a": 2}


def test_a_secret_is_read_once_in_a_while() -> None:
    world = World(made("Secret", "reader", data={"k": "1"}))
    for _ in range(3):
        assert world.client.get(SECRETS, "ml", "reader")["data"] == {"k": "1"}
    assert world.requests == ["GET"]
    world.now += 301
    world.client.get(SECRETS, "ml", "reader")
    assert world.requests == ["GET"]


def test_a_secret_that_was_written_is_known() -> None:
    world = World(made("Secret", "reader", data={"k": "1"}))
    world.client.get(SECRETS, "ml", "reader")
    world.client.apply(SECRETS, made("Secret", "reader", data={"k": "2"}), "us")
    world.live.requests.clear()
    assert world.client.get(SECRETS, "ml", "reader")["data"] == {"k": "2"}
    assert world.requests == []
    world.client.delete(SECRETS, "ml", "reader")
    assert world.client.find(SECRETS, "ml", "reader") is None


def test_a_secret_that_is_missing_is_asked_for_each_time() -> None:
    world = World()
    assert world.client.find(SECRETS, "ml", "reader") is None
    world.live.apply(SECRETS, made("Secret", "reader"), "somebody")
    assert world.client.find(SECRETS, "ml", "reader") is not None
