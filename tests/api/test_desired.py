"""What is built for a ModelDeployment, on a real API server: it is taken, and what it adds by itself is no drift."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api import ModelDeployment, RegisteredModel
from modelyard.api.modeldeployment import GatewaySpec, IngressSpec
from modelyard.api.names import API_VERSION
from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.ensure import ensure
from modelyard.cluster.resources import BY_KIND, JOBS, SECRETS, of_kind
from modelyard.decide.drift import is_current, stamped
from modelyard.desired import network, pods, preparation, scaling, traffic
from modelyard.desired.reader import Reader, reader_secret
from tests.api.conftest import NAMESPACE, Server
from tests.api.test_client import connection
from tests.cluster import versions
from tests.unit.desired.deployments import V3, V4, Json

CONTAINER_RESOURCES = {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "2", "memory": "2048Mi"}}
EVERYTHING: Json = {
    "labels": {"team": "churn", "empty": ""},
    "annotations": {"a": "b", "empty": ""},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
        {"key": "a", "value": "b"},
        {"operator": "Exists"},
    ],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", ""]}]}}
            ]
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"a": ""}}, "topologyKey": "kubernetes.io/hostname"}
            ]
        },
    },
    "topologySpread": [{"topologyKey": "a", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}, {"topologyKey": "b"}],
    "priorityClassName": "system-cluster-critical",
    "runtimeClassName": "gvisor",
    "serviceAccountName": "churn",
    "imagePullSecrets": [{"name": "one"}, {"name": "another"}],
    "env": [{"name": "A", "value": "b"}, {"name": "EMPTY"}],
    "envFrom": [{"prefix": "", "secretRef": {"name": "x", "optional": False}}, {"configMapRef": {"name": "x"}}],
    "volumes": [
        {"name": "config", "configMap": {"name": "x", "defaultMode": 292, "items": [{"key": "a", "path": "b"}]}},
        {"name": "csi", "csi": {"driver": "x", "readOnly": False, "volumeAttributes": {"a": ""}}},
        {
            "name": "info",
            "downwardAPI": {
                "items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {
                        "path": "cpu",
                        "resourceFieldRef": {"containerName": "model", "resource": "limits.cpu", "divisor": "1000m"},
                    },
                ]
            },
        },
        {"name": "empty", "emptyDir": {"medium": "", "sizeLimit": "1024Mi"}},
        {
            "name": "scratch",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}
                }
            },
        },
        {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": False}},
        {
            "name": "token",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                    {"secret": {"name": "x"}},
                ]
            },
        },
        {"name": "secret", "secret": {"secretName": "x", "optional": False}},
    ],
    "volumeMounts": [
        {"name": "data", "mountPath": "/data", "readOnly": True},
        {"name": "empty", "mountPath": "/empty", "subPath": "a"},
    ],
}
READER = Reader("a", "b", "http://minio:9000", "r")
SMALL = {"replicas": 1}
SCALED = {
    "resources": CONTAINER_RESOURCES,
    "autoscaling": {"minReplicas": 2, "maxReplicas": 5, "targetCPU": 70, "targetMemory": 80},
}
PEERS = [
    {"podLabels": {}},
    {"namespaceLabels": {}},
    {"namespaceLabels": {"a": "b"}, "podLabels": {"c": ""}},
]
INGRESS = {
    "host": "churn.example.com",
    "className": "nginx",
    "paths": [
        {"path": "/a"},
        {"path": "/b", "pathType": "Exact"},
        {"path": "/c", "pathType": "ImplementationSpecific"},
    ],
    "annotations": {"nginx.ingress.kubernetes.io/rewrite-target": "/", "empty": ""},
    "tls": {"secretName": "tls"},
}
GATEWAY = {"parentRef": {"name": "web"}, "hostname": "churn.example.com"}
FAR_GATEWAY = {
    "parentRef": {"name": "web", "namespace": "infra", "sectionName": "https"},
    "hostname": "*.example.com",
    "path": "/churn",
}


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    definitions = versions.load().components["contour"].home() / "examples/gateway/00-crds.yaml"
    server.api.kubectl("apply", "--server-side", "-f", str(definitions))
    server.api.kubectl("wait", "--for=condition=Established", "crd/httproutes.gateway.networking.k8s.io")
    return Client(connection(server))


def owner(client: Client, rest: Json) -> ModelDeployment:
    """Return a ModelDeployment as the API server gives it back, with the CRD's defaults."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": NAMESPACE},
        "spec": {"model": {"name": "churn", "stage": "Production"}, "rest": rest},
    }
    # `replicas` and the like of the case before are not to stay.
    client.delete(of_kind(ModelDeployment), NAMESPACE, "churn")
    return ModelDeployment.parse(client.apply(of_kind(ModelDeployment), body, "tests"))


def deployment(made: ModelDeployment) -> Json:
    template = pods.template(made, V3, "modelyard/serving:1", "IfNotPresent")
    return pods.deployment(made, V3, template, pods.template_inputs(made, V3), 2)


def budget(made: ModelDeployment) -> Json:
    body = scaling.disruption_budget(made, V3.revision)
    assert body is not None
    return body


def autoscaler(made: ModelDeployment) -> Json:
    assert made.spec.rest.autoscaling
    return scaling.autoscaler(made, made.spec.rest.autoscaling, "churn-v3")


def policy(made: ModelDeployment) -> Json:
    assert made.spec.rest.network_policy
    return network.network_policy(made, made.spec.rest.network_policy, "modelyard-system")


def ingress(made: ModelDeployment) -> IngressSpec:
    assert made.spec.rest.ingress
    return made.spec.rest.ingress


def gateway(made: ModelDeployment) -> GatewaySpec:
    assert made.spec.rest.gateway
    return made.spec.rest.gateway


CASES: dict[str, tuple[Json, Any]] = {
    "a small Deployment": (SMALL, deployment),
    "a Deployment with all that can be said": ({"resources": CONTAINER_RESOURCES, "pod": EVERYTHING}, deployment),
    "a Deployment that is not spread": ({"pod": {"topologySpread": []}}, deployment),
    "a Service": (SMALL, lambda made: traffic.service(made, V3.revision, split=False)),
    "a Service of both versions": (SMALL, lambda made: traffic.service(made, V3.revision, split=True)),
    "a Service of nothing": (SMALL, lambda made: traffic.service(made, "none", split=False)),
    "a candidate's Service": (SMALL, lambda made: traffic.candidate_service(made, V4.revision)),
    "a small Ingress": ({"ingress": {"host": "h"}}, lambda made: traffic.ingress(made, ingress(made))),
    "an Ingress with all that can be said": ({"ingress": INGRESS}, lambda made: traffic.ingress(made, ingress(made))),
    "a candidate's Ingress": ({"ingress": INGRESS}, lambda made: traffic.candidate_ingress(made, ingress(made), 0)),
    "an HTTPRoute": ({"gateway": GATEWAY}, lambda made: traffic.http_route(made, gateway(made), None)),
    "an HTTPRoute to both": ({"gateway": FAR_GATEWAY}, lambda made: traffic.http_route(made, gateway(made), 100)),
    "an autoscaler": (SCALED, autoscaler),
    "a disruption budget": ({"replicas": 2}, budget),
    "a disruption budget that lets nothing go": ({"disruptionBudget": {"maxUnavailable": 0}}, budget),
    "a small network policy": ({"networkPolicy": {}}, policy),
    "a network policy with peers": ({"networkPolicy": {"from": PEERS}}, policy),
    "the readers' Secret": (SMALL, lambda made: reader_secret(made.metadata.namespace, READER)),
}


@pytest.mark.parametrize("name", CASES)
def test_what_was_applied_is_current(client: Client, name: str) -> None:
    rest, build = CASES[name]
    manifest = build(owner(client, rest))
    resource = BY_KIND[manifest["kind"]]
    namespace, object_name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    try:
        ensure(client, manifest, None)
        live = client.get(resource, namespace, object_name)
        assert is_current(stamped(manifest), live), differences(stamped(manifest), live)
    finally:
        client.delete(resource, namespace, object_name)


@pytest.mark.parametrize(
    "pod",
    [
        {"affinity": {"nodeAffinitty": {}}},
        {"affinity": {"nodeAffinity": []}},
        {"volumes": [{"name": "x", "secret": {"secret": "x"}}]},
        {"volumes": [{"name": "x", "secret": {"secretName": 1}}]},
        {"envFrom": [{"secretRef": {"nam": "x"}}]},
        {"envFrom": [{}]},
    ],
    ids=str,
)
def test_what_kubernetes_does_not_know_is_refused_in_words(client: Client, pod: Json) -> None:
    with pytest.raises(ApiError) as raised:
        ensure(client, deployment(owner(client, {"pod": pod})), None)
    assert raised.value.code in (400, 422), str(raised.value)
    assert any(word in str(raised.value) for word in ("not declared", "expected", "Required", "must specify"))


def test_the_job_that_prepares_a_version_is_taken_as_it_is_and_so_are_its_urls(client: Client) -> None:
    body = {
        "apiVersion": API_VERSION,
        "kind": "RegisteredModel",
        "metadata": {"name": "churn", "namespace": NAMESPACE},
        "spec": {},
    }
    model = RegisteredModel.parse(client.apply(of_kind(RegisteredModel), body, "tests"))
    preparing = preparation.Preparing("prepare-abc", 3, "s3://b/m", V3.digest, "http://web.ml.svc/modelyard/recent")
    source = {"secretRef": {"name": "uv", "optional": True}}
    settings = preparation.JobSettings("serving:1", "IfNotPresent", 900, CONTAINER_RESOURCES, (source,), "http://index")
    manifest = preparation.preparation_job(model, preparing, settings)
    try:
        made = client.create(JOBS, NAMESPACE, manifest, "tests")
        assert differences({"backoffLimit": 1, "activeDeadlineSeconds": 900}, made["spec"]) == []
        rules = [rule["action"] for rule in made["spec"]["podFailurePolicy"]["rules"]]
        assert rules == ["Count", "FailJob"]

        def keys(job: str, *parts: str) -> set[str]:
            urls = {part: f"http://store/{job}/{part}" for part in parts}
            secret = preparation.upload_secret(NAMESPACE, job, urls)
            return set(client.apply(SECRETS, secret, preparation.upload_manager("tests", job)).get("data", {}))

        assert keys("prepare-abc", "model") == {"prepare-abc.model"}
        assert keys("prepare-abd", "model") == {"prepare-abc.model", "prepare-abd.model"}
        assert keys("prepare-abc") == {"prepare-abd.model"}, "taken back, and nobody else's"
        assert keys("prepare-abd") == set()
    finally:
        client.delete(JOBS, NAMESPACE, "prepare-abc")
        client.delete(SECRETS, NAMESPACE, preparation.SECRET)
        client.delete(of_kind(RegisteredModel), NAMESPACE, "churn")


def differences(wanted: Any, live: Any, path: str = "") -> list[str]:
    """Return the paths at which `live` looks other than what is wanted, for a failure's sake."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return [found for key in wanted for found in differences(wanted[key], live.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        return [
            found
            for number, (want, have) in enumerate(zip(wanted, live, strict=True))
            for found in differences(want, have, f"{path}[{number}]")
        ]
    return [] if wanted == live else [f"{path}: {wanted!r} became {live!r}"]
