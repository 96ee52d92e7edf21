"""The objects of a ModelDeployment."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from modelyard.api import ModelDeployment
from modelyard.api.serving import ServedModel
from modelyard.desired import serving
from modelyard.desired.serving import Reader

V3 = ServedModel("churn-prediction-model", 3, "s3://modelyard/artifacts/1/model", "sha256:" + "3" * 64)


def deployment(**rest: Any) -> ModelDeployment:
    return ModelDeployment.parse(
        {
            "metadata": {"name": "churn", "namespace": "ml", "uid": "u-1"},
            "spec": {"model": {"name": "churn-prediction-model", "stage": "Production"}, "rest": rest},
        }
    )


def pod_of(body: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = body["spec"]["template"]["spec"]
    return spec


def built(**rest: Any) -> dict[str, Any]:
    return serving.deployment(deployment(**rest), V3, "modelyard/serving:1", "IfNotPresent")


def test_everything_is_owned_and_labelled() -> None:
    owner = deployment(ingress={"host": "churn.example.com"})
    assert owner.spec.rest.ingress
    objects = (built(), serving.service(owner, V3.revision), serving.ingress(owner, owner.spec.rest.ingress))
    for body in objects:
        (reference,) = body["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["name"], reference["uid"]) == ("ModelDeployment", "churn", "u-1")
        assert body["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "modelyard"
        assert body["metadata"]["labels"]["modelyard.dev/deployment"] == "churn"


def test_names_are_stable() -> None:
    assert built()["metadata"]["name"] == f"churn-v3-{V3.revision}"
    assert V3.revision == "9434c6c9"


@pytest.mark.parametrize(
    "other",
    [
        ServedModel("another", V3.version, V3.artifact, V3.digest),
        ServedModel(V3.name, 4, V3.artifact, V3.digest),
        ServedModel(V3.name, V3.version, V3.artifact, "sha256:" + "4" * 64),
    ],
    ids=["model", "version", "content"],
)
def test_another_content_is_another_revision(other: ServedModel) -> None:
    assert other.revision != V3.revision


def test_the_service_selects_the_pods_of_its_revision_and_no_others() -> None:
    selector = serving.service(deployment(), V3.revision)["spec"]["selector"]
    body = built()
    assert selector.items() <= body["spec"]["template"]["metadata"]["labels"].items()
    assert body["spec"]["selector"]["matchLabels"] == selector


def test_the_pod_is_told_what_to_load_and_which_digest_to_find() -> None:
    (container,) = pod_of(built())["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["MLFLOW_MODEL_URI"] == "models:/churn-prediction-model/3"
    assert environment["MODELYARD_MODEL_SOURCE"] == V3.artifact
    assert environment["MODELYARD_MODEL_DIGEST"] == V3.digest
    assert container["envFrom"] == [{"secretRef": {"name": "modelyard-artifacts-reader"}}]


def test_the_pod_fits_the_restricted_standard_and_has_no_token() -> None:
    pod = pod_of(built())
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False


def test_a_pod_has_time_to_answer_what_reaches_it_while_it_goes() -> None:
    pod = pod_of(built())
    environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert pod["terminationGracePeriodSeconds"] > int(environment["MODELYARD_DRAIN_SECONDS"])


def test_an_edit_of_a_served_version_never_goes_below_its_replicas() -> None:
    assert built(replicas=3)["spec"]["replicas"] == 3
    assert built()["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ({}, None),
        ({"resources": {"limits": {"memory": "1Gi"}}}, {"limits": {"memory": "1Gi"}}),
        (
            {"resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}},
            {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}},
        ),
    ],
)
def test_resources_are_those_of_the_spec(rest: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert pod_of(built(**rest))["containers"][0].get("resources") == expected


@pytest.mark.parametrize(
    ("ingress", "expected"),
    [
        ({"host": "h"}, {"rules": ["h"]}),
        ({"host": "h", "className": "nginx"}, {"rules": ["h"], "ingressClassName": "nginx"}),
        ({"host": "h", "tls": {"secretName": "s"}}, {"rules": ["h"], "tls": [{"hosts": ["h"], "secretName": "s"}]}),
    ],
)
def test_the_ingress_says_what_the_spec_says(ingress: dict[str, Any], expected: dict[str, Any]) -> None:
    owner = deployment(ingress=ingress)
    assert owner.spec.rest.ingress
    spec = serving.ingress(owner, owner.spec.rest.ingress)["spec"]
    (path,) = spec["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "churn", "port": {"name": "http"}}
    assert {**spec, "rules": [rule["host"] for rule in spec["rules"]]} == expected


def test_annotations_reach_the_ingress() -> None:
    annotations = {"nginx.ingress.kubernetes.io/rewrite-target": "/"}
    owner = deployment(ingress={"host": "h", "annotations": annotations})
    assert owner.spec.rest.ingress
    assert serving.ingress(owner, owner.spec.rest.ingress)["metadata"]["annotations"] == annotations


@pytest.mark.parametrize(
    ("endpoint", "keys"),
    [
        (None, {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}),
        (
            "http://minio:9000",
            {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"},
        ),
    ],
)
def test_the_readers_secret_is_the_environment_of_the_pods(endpoint: str | None, keys: set[str]) -> None:
    body = serving.reader_secret("ml", Reader("reader", "secret", endpoint, "eu-central-1"))
    values = {name: b64decode(value).decode() for name, value in body["data"].items()}
    assert values.keys() == keys
    assert (values["AWS_ACCESS_KEY_ID"], values.get("AWS_ENDPOINT_URL_S3")) == ("reader", endpoint)
