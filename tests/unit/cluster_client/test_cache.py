"""The cache: nothing older replaces what is newer, what is gone stays gone, objects are found by their owner."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.cluster.cache import CachedKind, ObjectCache
from modelyard.cluster.resources import DEPLOYMENTS, SERVICES

Json = dict[str, Any]
OWNER = "modelyard.dev/deployment"


@pytest.fixture
def cache() -> ObjectCache:
    return filled(ObjectCache([CachedKind(DEPLOYMENTS, OWNER, {"managed-by": "modelyard"})]))


def filled(cache: ObjectCache) -> ObjectCache:
    for kind in cache.kinds:
        cache.complete(kind.resource)
    return cache


def body(name: str = "a", *, version: int = 5, uid: str = "", owner: str = "web", **more: Any) -> Json:
    metadata = {
        "namespace": "ml",
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "labels": {OWNER: owner, "managed-by": "modelyard"},
        "managedFields": [{"manager": "x"}],
    }
    return {"metadata": metadata, **more}


def version(cache: ObjectCache, name: str = "a") -> str | None:
    found = cache.get(DEPLOYMENTS, ("ml", name))
    return str(found["metadata"]["resourceVersion"]) if found else None


@pytest.mark.parametrize(
    ("first", "second", "news", "kept"),
    [
        (5, 6, True, "6"),
        (5, 5, False, "5"),
        (5, 4, False, "5"),
        (9, 10, True, "10"),  # versions are numbers, not words
    ],
)
def test_only_what_is_newer_replaces_an_object(
    cache: ObjectCache, first: int, second: int, news: bool, kept: str
) -> None:
    assert cache.put(DEPLOYMENTS, body(version=first))
    assert cache.put(DEPLOYMENTS, body(version=second)) is news
    assert version(cache) == kept


@pytest.mark.parametrize(
    ("gone", "late", "back"),
    [
        pytest.param(body(version=7), body(version=6), False, id="a late event of it"),
        pytest.param(body(version=7), body(version=8), True, id="it got its labels back"),
        pytest.param(body(version=7), body(version=8, uid="another"), True, id="another of its name"),
    ],
)
def test_what_a_watch_said_is_gone_comes_back_with_a_later_version_only(
    cache: ObjectCache, gone: Json, late: Json, back: bool
) -> None:
    cache.put(DEPLOYMENTS, body(version=5))
    assert cache.remove(DEPLOYMENTS, gone)
    assert cache.put(DEPLOYMENTS, late) is back
    assert (version(cache) is not None) is back


def test_what_was_deleted_never_comes_back(cache: ObjectCache) -> None:
    cache.put(DEPLOYMENTS, body(version=5))
    cache.deleted(DEPLOYMENTS, ("ml", "a"))
    assert not cache.put(DEPLOYMENTS, body(version=99))
    assert cache.put(DEPLOYMENTS, body(version=100, uid="another"))


@pytest.mark.parametrize("act", ["remove", "deleted"])
def test_the_end_of_an_object_is_not_that_of_its_successor(cache: ObjectCache, act: str) -> None:
    cache.put(DEPLOYMENTS, body(version=9, uid="successor"))
    if act == "remove":
        assert not cache.remove(DEPLOYMENTS, body(version=7, uid="first"))
    else:
        cache.deleted(DEPLOYMENTS, ("ml", "a"), "first")
    assert version(cache) == "9"


def test_what_is_missing_in_a_list_is_gone_unless_it_is_newer_than_the_list(cache: ObjectCache) -> None:
    for name in ("stays", "vanished", "written", "new"):
        if name != "new":
            cache.put(DEPLOYMENTS, body(name))
    before = cache.versions(DEPLOYMENTS)
    cache.put(DEPLOYMENTS, body("written", version=8))
    cache.put(DEPLOYMENTS, body("new", version=9))
    assert cache.vanished(DEPLOYMENTS, before, [("ml", "stays")]) == [(("ml", "vanished"), "web")]
    assert [each["metadata"]["name"] for each in cache.select(DEPLOYMENTS, "ml", {})] == ["new", "stays", "written"]


@pytest.mark.parametrize(
    ("namespace", "labels", "names"),
    [
        ("ml", {OWNER: "web"}, ["a", "b"]),
        ("ml", {OWNER: "web", "managed-by": "modelyard"}, ["a", "b"]),
        ("ml", {OWNER: "web", "managed-by": "x"}, []),
        ("ml", {OWNER: "api"}, ["c"]),
        ("ml", {OWNER: "none"}, []),
        ("other", {OWNER: "web"}, []),
        ("ml", {}, ["a", "b", "c"]),
        (None, {OWNER: "web"}, ["a", "b"]),
    ],
)
def test_objects_are_found_by_their_labels(
    cache: ObjectCache, namespace: str | None, labels: dict[str, str], names: list[str]
) -> None:
    for name, owner in (("b", "web"), ("a", "web"), ("c", "api")):
        cache.put(DEPLOYMENTS, body(name, owner=owner))
    assert [each["metadata"]["name"] for each in cache.select(DEPLOYMENTS, namespace, labels)] == names


def test_an_object_that_changes_its_owner_is_found_by_the_new_one_only(cache: ObjectCache) -> None:
    cache.put(DEPLOYMENTS, body(owner="web"))
    cache.put(DEPLOYMENTS, body(owner="api", version=6))
    assert cache.select(DEPLOYMENTS, "ml", {OWNER: "web"}) == []
    assert len(cache.select(DEPLOYMENTS, "ml", {OWNER: "api"})) == 1


def test_what_is_read_is_the_readers_own(cache: ObjectCache) -> None:
    cache.put(DEPLOYMENTS, body(spec={"replicas": 1}))
    found = cache.get(DEPLOYMENTS, ("ml", "a"))
    assert found is not None
    found["spec"]["replicas"] = 2
    again = cache.get(DEPLOYMENTS, ("ml", "a"))
    assert again is not None
    assert again["spec"] == {"replicas": 1}


@pytest.mark.parametrize("whole", [True, False])
def test_managed_fields_are_kept_where_they_are_read(whole: bool) -> None:
    cache = filled(ObjectCache([CachedKind(SERVICES, whole=whole)]))
    given = body()
    cache.put(SERVICES, given)
    found = cache.get(SERVICES, ("ml", "a"))
    assert found is not None
    assert ("managedFields" in found["metadata"]) is whole
    assert "managedFields" in given["metadata"], "what was given is left alone"


def test_a_kind_is_answered_for_when_all_of_it_is_there() -> None:
    cache = ObjectCache([CachedKind(SERVICES)])
    cache.put(SERVICES, body())
    assert cache.kind(SERVICES) is None
    cache.complete(SERVICES)
    assert cache.kind(SERVICES) is not None
    assert cache.kind(DEPLOYMENTS) is None


@pytest.mark.parametrize(
    ("kind", "selector"),
    [
        (CachedKind(SERVICES), ""),
        (CachedKind(SERVICES, OWNER), OWNER),
        (CachedKind(SERVICES, OWNER, {"a": "b"}), f"a=b,{OWNER}"),
    ],
)
def test_the_selector_asks_for_what_is_held(kind: CachedKind, selector: str) -> None:
    assert kind.selector == selector
