"""By what requests reach a model: which pods a Service selects, and what an Ingress or an HTTPRoute says of weights."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.modeldeployment import GatewaySpec, IngressSpec
from modelyard.api.names import STABLE_ANNOTATION
from modelyard.desired import pods, traffic
from tests.unit.desired.deployments import V3, V4, Json, deployment

OWNER = deployment()
NGINX = "nginx.ingress.kubernetes.io/"


def ingress(**said: Any) -> IngressSpec:
    return IngressSpec.model_validate({"host": "churn.example.com", **said})


def gateway(**said: Any) -> GatewaySpec:
    return GatewaySpec.model_validate({"parentRef": {"name": "web"}, "hostname": "churn.example.com", **said})


@pytest.mark.parametrize(
    "body",
    [
        traffic.service(OWNER, V3.revision, split=False),
        traffic.candidate_service(OWNER, V4.revision),
        traffic.ingress(OWNER, ingress()),
        traffic.candidate_ingress(OWNER, ingress(), 10),
        traffic.http_route(OWNER, gateway(), 10),
    ],
    ids=lambda body: f"{body['kind']} {body['metadata']['name']}",
)
def test_everything_is_owned_and_labelled(body: Json) -> None:
    (reference,) = body["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["name"], reference["uid"]) == ("ModelDeployment", "churn", "u-1")
    assert body["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "modelyard"
    assert body["metadata"]["labels"]["modelyard.dev/deployment"] == "churn"
    assert body["metadata"]["namespace"] == "ml"


def test_names_are_those_of_the_deployment_and_of_its_candidate() -> None:
    assert traffic.service(OWNER, V3.revision, split=False)["metadata"]["name"] == "churn"
    assert traffic.ingress(OWNER, ingress())["metadata"]["name"] == "churn"
    assert traffic.http_route(OWNER, gateway(), None)["metadata"]["name"] == "churn"
    assert traffic.candidate_service(OWNER, V4.revision)["metadata"]["name"] == "churn-candidate"
    assert traffic.candidate_ingress(OWNER, ingress(), 10)["metadata"]["name"] == "churn-candidate"


class TestService:
    def labels(self, revision: str) -> dict[str, str]:
        model = V3 if revision == V3.revision else V4
        found: dict[str, str] = pods.template(OWNER, model, "image", "Never")["metadata"]["labels"]
        return found

    @pytest.mark.parametrize(
        ("body", "selected"),
        [
            (traffic.service(OWNER, V3.revision, split=False), {V3.revision}),
            (traffic.service(OWNER, V3.revision, split=True), {V3.revision, V4.revision}),
            (traffic.candidate_service(OWNER, V4.revision), {V4.revision}),
            (traffic.service(OWNER, "none", split=False), set()),
        ],
        ids=["the stable version", "both, by their number of pods", "the candidate", "nothing"],
    )
    def test_selects(self, body: Json, selected: set[str]) -> None:
        wanted = body["spec"]["selector"].items()
        assert {r for r in (V3.revision, V4.revision) if wanted <= self.labels(r).items()} == selected

    @pytest.mark.parametrize("split", [False, True])
    def test_always_names_what_is_served(self, split: bool) -> None:
        metadata = traffic.service(OWNER, V3.revision, split=split)["metadata"]
        assert metadata["annotations"] == {STABLE_ANNOTATION: V3.revision}

    def test_leads_from_the_usual_port_to_that_of_the_pods(self) -> None:
        port, _ = traffic.service(OWNER, V3.revision, split=False)["spec"]["ports"]
        (container,) = pods.template(OWNER, V3, "image", "Never")["spec"]["containers"]
        assert (port["name"], port["port"]) == ("http", 80)
        assert [p["containerPort"] for p in container["ports"] if p["name"] == port["targetPort"]] == [8080]

    def test_says_that_its_second_port_speaks_http_2_without_tls(self) -> None:
        _, port = traffic.service(OWNER, V3.revision, split=False)["spec"]["ports"]
        assert (port["port"], port["targetPort"], port["appProtocol"]) == (8081, "grpc", "kubernetes.io/h2c")


class TestIngress:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({}, {}),
            ({"className": "nginx"}, {"ingressClassName": "nginx"}),
            ({"tls": {"secretName": "s"}}, {"tls": [{"hosts": ["churn.example.com"], "secretName": "s"}]}),
        ],
    )
    def test_says_what_the_spec_says(self, said: Json, expected: Json) -> None:
        spec = traffic.ingress(OWNER, ingress(**said))["spec"]
        (rule,) = spec.pop("rules")
        assert (rule["host"], spec) == ("churn.example.com", expected)

    @pytest.mark.parametrize(
        ("paths", "expected"),
        [
            ([], [("/", "Prefix")]),
            ([{"path": "/churn"}], [("/churn", "Prefix")]),
            (
                [{"path": "/a", "pathType": "Exact"}, {"path": "/b(/|$)", "pathType": "ImplementationSpecific"}],
                [("/a", "Exact"), ("/b(/|$)", "ImplementationSpecific")],
            ),
        ],
        ids=["all", "a prefix", "several"],
    )
    @pytest.mark.parametrize("backend", ["churn", "churn-candidate"])
    def test_leads_from_the_paths_to_its_service(
        self, backend: str, paths: list[Json], expected: list[tuple[str, str]]
    ) -> None:
        spec = ingress(paths=paths)
        body = traffic.ingress(OWNER, spec) if backend == "churn" else traffic.candidate_ingress(OWNER, spec, 5)
        (rule,) = body["spec"]["rules"]
        found = rule["http"]["paths"]
        assert [(each["path"], each["pathType"]) for each in found] == expected
        assert {each["backend"]["service"]["name"] for each in found} == {backend}
        assert {each["backend"]["service"]["port"]["name"] for each in found} == {"http"}

    def test_has_the_annotations_of_the_spec(self) -> None:
        annotations = {f"{NGINX}rewrite-target": "/"}
        body = traffic.ingress(OWNER, ingress(annotations=annotations))
        assert body["metadata"]["annotations"] == annotations
        assert "annotations" not in traffic.ingress(OWNER, ingress())["metadata"]

    def test_of_a_candidate_is_a_canary_and_asks_nobody_else_for_anything(self) -> None:
        said = {
            f"{NGINX}rewrite-target": "/",
            f"{NGINX}canary-weight": "99",
            "cert-manager.io/cluster-issuer": "letsencrypt",
        }
        spec = ingress(annotations=said, className="nginx", tls={"secretName": "s"})
        body = traffic.candidate_ingress(OWNER, spec, 25)
        assert body["metadata"]["annotations"] == {
            f"{NGINX}rewrite-target": "/",
            f"{NGINX}canary": "true",
            f"{NGINX}canary-weight": "25",
        }
        assert (body["spec"]["ingressClassName"], body["spec"].get("tls")) == ("nginx", None)


class TestRoute:
    @pytest.mark.parametrize(
        ("weight", "shares"),
        [
            (None, {"churn": 100}),
            (0, {"churn": 100, "churn-candidate": 0}),
            (1, {"churn": 99, "churn-candidate": 1}),
            (100, {"churn": 0, "churn-candidate": 100}),
        ],
    )
    def test_gives_the_candidate_its_share(self, weight: int | None, shares: dict[str, int]) -> None:
        (rule,) = traffic.http_route(OWNER, gateway(), weight)["spec"]["rules"]
        assert {each["name"]: each["weight"] for each in rule["backendRefs"]} == shares
        assert {each["port"] for each in rule["backendRefs"]} == {80}

    def test_is_attached_to_the_gateway_of_the_spec(self) -> None:
        reference = {"name": "web", "namespace": "infra", "sectionName": "https"}
        spec = traffic.http_route(OWNER, gateway(parentRef=reference, path="/churn"), None)["spec"]
        assert (spec["parentRefs"], spec["hostnames"]) == ([reference], ["churn.example.com"])
        assert spec["rules"][0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/churn"}}]
        assert traffic.http_route(OWNER, gateway(), None)["spec"]["parentRefs"] == [{"name": "web"}]

    @pytest.mark.parametrize(("path", "taken_off"), [("/", False), ("/churn", True), ("/churn/", True)])
    def test_takes_off_the_prefix_that_leads_to_it(self, path: str, taken_off: bool) -> None:
        (rule,) = traffic.http_route(OWNER, gateway(path=path), None)["spec"]["rules"]
        replaced = [each["urlRewrite"]["path"]["replacePrefixMatch"] for each in rule.get("filters", [])]
        assert replaced == (["/"] if taken_off else [])
