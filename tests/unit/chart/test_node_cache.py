"""The node cache: where it is, what it may ask, and who may ask it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.settings import Settings
from modelyard_serving.nodecache.settings import Settings as CacheSettings
from modelyard_serving.nodecache.settings import quantity
from tests.unit.chart.render import (
    NAMESPACE,
    Json,
    Refused,
    container,
    environment,
    find,
    names,
    template,
)

NAME = "modelyard-node-cache"
AWS = {"minio": {"enabled": False}, "artifactStore": {"uri": "s3://models/team", "region": "eu-central-1"}}


def settings(objects: list[Json]) -> CacheSettings:
    """What the program reads of what the chart says."""
    return CacheSettings.from_env(environment(container(objects, "DaemonSet", NAME, "node-cache")))


def operator(objects: list[Json]) -> str | None:
    own = environment(container(objects, "Deployment", "modelyard-operator", "operator"))
    return Settings.from_environment(own).node_cache


class TestWhereItIs:
    def test_pods_ask_the_one_of_their_node(self) -> None:
        objects = template()
        service = find(objects, "Service", NAME)["spec"]
        assert service["internalTrafficPolicy"] == "Local"
        assert operator(objects) == f"http://{NAME}.{NAMESPACE}.svc:{service['ports'][0]['port']}"
        assert (
            settings(objects).port == container(objects, "DaemonSet", NAME, "node-cache")["ports"][0]["containerPort"]
        )

    def test_runs_the_serving_image_without_credentials(self) -> None:
        objects = template()
        cache = container(objects, "DaemonSet", NAME, "node-cache")
        assert (
            cache["image"]
            == environment(container(objects, "Deployment", "modelyard-operator", "operator"))[
                "MODELYARD_SERVING_IMAGE"
            ]
        )
        assert all("valueFrom" not in entry for entry in cache["env"])
        assert "envFrom" not in cache

    @pytest.mark.parametrize("values", [{"nodeCache": {"enabled": False}}, {"operator": {"enabled": False}}])
    def test_can_be_left_out(self, values: Json) -> None:
        objects = template({**values, "networkPolicy": {"enabled": True}})
        assert not {kind for kind in ("DaemonSet", "Service", "NetworkPolicy") if NAME in names(objects, kind)}
        if "nodeCache" in values:
            assert operator(objects) is None


class TestRoom:
    @pytest.mark.parametrize("size", ["10Gi", "1500M"])
    def test_stays_within_its_volume(self, size: str) -> None:
        objects = template({"nodeCache": {"sizeLimit": size}})
        pod = find(objects, "DaemonSet", NAME)["spec"]["template"]["spec"]
        assert pod["volumes"] == [{"name": "cache", "emptyDir": {"sizeLimit": size}}]
        assert settings(objects).limit < quantity(size)
        assert str(settings(objects).directory) == "/cache"


class TestStores:
    @pytest.mark.parametrize(
        ("values", "allowed", "others"),
        [
            ({}, [("http", f"modelyard-minio.{NAMESPACE}.svc", 9000)], [("http", "modelyard-minio.other.svc", 9000)]),
            (
                AWS,
                [
                    ("https", "models.s3.eu-central-1.amazonaws.com", 443),
                    ("https", "s3.eu-central-1.amazonaws.com", 443),
                ],
                [("https", "s3.eu-west-1.amazonaws.com", 443), ("http", "s3.eu-central-1.amazonaws.com", 80)],
            ),
            (
                {"nodeCache": {"endpoints": ["https://*.s3.example.com:9000"]}},
                [("https", "a.s3.example.com", 9000), ("http", f"modelyard-minio.{NAMESPACE}.svc", 9000)],
                [("https", "a.s3.example.com", 443)],
            ),
        ],
        ids=["MinIO", "AWS", "more"],
    )
    def test_are_the_installations_and_what_is_named(self, values: Json, allowed: list[Any], others: list[Any]) -> None:
        endpoints = settings(template(values)).endpoints
        assert all(endpoints.allow(*place) for place in allowed)
        assert not any(endpoints.allow(*place) for place in others)


class TestNetworkPolicy:
    def test_lets_model_pods_to_it_and_it_to_the_store(self) -> None:
        objects = template({"networkPolicy": {"enabled": True}})
        (rule,) = find(objects, "NetworkPolicy", NAME)["spec"]["ingress"]
        assert {peer["podSelector"]["matchExpressions"][0]["key"] for peer in rule["from"]} == {
            "modelyard.dev/deployment",
            "modelyard.dev/model",
        }
        labels = find(objects, "DaemonSet", NAME)["spec"]["template"]["metadata"]["labels"]
        (store,) = find(objects, "NetworkPolicy", "modelyard-minio")["spec"]["ingress"]
        selectors = [peer["podSelector"].get("matchLabels") for peer in store["from"] if len(peer) == 1]
        assert any(selector.items() <= labels.items() for selector in selectors)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sizeLimit", "10 GB"),
        ("sizeLimit", "100m"),
        ("endpoints", ["s3.example.com"]),
        ("endpoints", ["https://a/b"]),
        ("endpoints", ["https://a,https://b"]),
        ("enabled", "yes"),
        ("hostPath", "/var/cache"),
    ],
)
def test_other_values_are_refused(key: str, value: Any) -> None:
    with pytest.raises(Refused, match=key):
        template({"nodeCache": {key: value}})
