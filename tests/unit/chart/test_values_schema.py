"""values.schema.json: what is accepted, and what is refused before anything is installed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.unit.chart.render import CHART, Json, Refused, template

SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text())
VALUES: Json = yaml.safe_load((CHART / "values.yaml").read_text())


def at(path: str, value: Any) -> Json:
    """Return values in which the dotted `path` is `value`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("images.operator.tag", "v1.2.3_rc.1"),
        ("images.operator.repository", "registry.example.com:5000/ml/operator"),
        ("operator.resources.limits", {"memory": "1.5Gi", "cpu": 2, "nvidia.com/gpu": "1"}),
        ("operator.extraEnv", [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]),
        ("tracking.allowedHosts", ["*.example.com", "mlflow:8080"]),
        ("tracking.corsAllowedOrigins", ["http://192.168.1.5:30500"]),
        ("tracking.service.nodePort", 30500),
        ("artifactStore.uri", "s3://a-bucket.with.dots/and/a prefix".replace(" ", "-")),
        ("artifactStore.endpoint", "https://s3.example.com:9000"),
        ("postgresql.podSecurityContext", {"runAsNonRoot": True, "fsGroup": 26}),
        ("global", {"anything": True}),
        ("webhooks.allowedHosts", ["ci.example.com", "*.example.com"]),
        ("webhooks.secretNames", []),
        ("training.projects.secretNames", ["deploy-key"]),
        ("audit.editors", "enabled"),
        ("serving.preparation.enabled", False),
        ("serving.environments.indexUrl", "https://packages.example.com/simple"),
        ("serving.environments.envFrom", [{"secretRef": {"name": "uv", "optional": True}}]),
        ("training.environments.enabled", False),
        ("training.environments.channelAlias", "https://packages.example.com/conda"),
    ],
)
def test_accepts(path: str, value: Any) -> None:
    assert template(at(path, value))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("trakcing", {}, "trakcing"),
        ("tracking.databse", "sqlite", "databse"),
        ("tracking.database", "mongodb", "/tracking/database"),
        ("tracking.databaseUri", "not a uri", "/tracking/databaseUri"),
        ("tracking.replicas", 0, "/tracking/replicas"),
        ("tracking.threads", "eight", "/tracking/threads"),
        ("tracking.transitionTimeoutSeconds", 600, "/tracking/transitionTimeoutSeconds"),
        ("tracking.allowedHosts", ["a,b"], "/tracking/allowedHosts/0"),
        ("tracking.corsAllowedOrigins", ["mlflow.example.com"], "/tracking/corsAllowedOrigins/0"),
        ("tracking.service.type", "ExternalName", "/tracking/service/type"),
        ("tracking.service.nodePort", 70000, "/tracking/service/nodePort"),
        ("tracking.ingress.enabled", True, "/tracking/ingress/host"),
        ("tracking.externalUri", "mlflow:5000", "/tracking/externalUri"),
        ("tracking.persistence.size", "big", "/tracking/persistence/size"),
        ("images.operator.tag", "latest", "/images/operator/tag"),
        ("images.minio.digest", "sha256:12", "/images/minio/digest"),
        ("images.serving.repository", "", "/images/serving/repository"),
        ("images.serving.pullPolicy", "Sometimes", "/images/serving/pullPolicy"),
        ("operator.watchNamespaces", ["Team_A"], "/operator/watchNamespaces/0"),
        ("operator.watchNamespaces", ["a", "a"], "/operator/watchNamespaces"),
        ("operator.replicas", 2, "replicas"),
        ("operator.resources.limits", {"memory": "lots"}, "/operator/resources/limits/memory"),
        ("operator.extraEnv", [{"value": "x"}], "name"),
        ("modelNamespace", "ML Team", "/modelNamespace"),
        ("gitManagers", ["a,b"], "/gitManagers/0"),
        ("artifactStore.uri", "http://models", "/artifactStore/uri"),
        ("artifactStore.uri", "s3://", "/artifactStore/uri"),
        ("artifactStore.endpoint", "minio:9000", "/artifactStore/endpoint"),
        ("minio.podSecurityContext", {"runAsNonRoot": False}, "/minio/podSecurityContext/runAsNonRoot"),
        ("crds.enabled", "yes", "/crds/enabled"),
        ("approvals.policy.enabled", "auto", "/approvals/policy/enabled"),
        ("audit.editors", True, "/audit/editors"),
        ("audit.argocdNamespace", "Argo CD", "/audit/argocdNamespace"),
        ("webhooks.allowedHosts", ["https://ci.example.com/"], "/webhooks/allowedHosts/0"),
        ("serving.preparation.enabled", "auto", "/serving/preparation/enabled"),
        ("serving.preparation.activeDeadlineSeconds", 5, "/serving/preparation/activeDeadlineSeconds"),
        ("serving.environments.indexUrl", "packages", "/serving/environments/indexUrl"),
        ("serving.environments.envFrom", [{"fieldRef": {}}], "/serving/environments/envFrom/0"),
        ("training.environments.activeDeadlineSeconds", 5, "/training/environments/activeDeadlineSeconds"),
        ("training.environments.channelAlias", "conda-forge", "/training/environments/channelAlias"),
        ("webhooks.secretNames", ["My Secret"], "/webhooks/secretNames/0"),
        ("training.projects.secretNames", ["My Secret"], "/training/projects/secretNames/0"),
    ],
)
def test_refuses_and_names_the_value(path: str, value: Any, says: str) -> None:
    with pytest.raises(Refused, match="values don't meet the specifications of the schema") as refused:
        template(at(path, value))
    assert says in str(refused.value)


def test_has_every_value_and_no_other() -> None:
    assert known(SCHEMA) - {"global"} == given(VALUES, SCHEMA)


def known(schema: Json, prefix: str = "") -> set[str]:
    """Return the dotted paths of a schema's properties."""
    paths: set[str] = set()
    for name, body in closed_properties(schema).items():
        paths |= known(body, f"{prefix}{name}.") or {f"{prefix}{name}"}
    return paths


def given(values: Json, schema: Json, prefix: str = "") -> set[str]:
    """Return the dotted paths of values, no deeper than the schema names properties."""
    paths: set[str] = set()
    properties = closed_properties(schema)
    for name, value in values.items():
        if isinstance(value, dict) and closed_properties(properties.get(name, {})):
            paths |= given(value, properties[name], f"{prefix}{name}.")
        else:
            paths.add(f"{prefix}{name}")
    return paths


def closed_properties(schema: Json) -> Json:
    """Return the properties of an object that has no others, by way of references; else none."""
    for part in (schema, *schema.get("allOf", [])):
        if "$ref" in part:
            schema = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]]
    return schema.get("properties", {}) if schema.get("additionalProperties") is False else {}
