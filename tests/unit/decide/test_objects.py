"""What is wrong with the objects around the pods, as the API server shows them."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.reasons import Reason
from modelyard.decide.diagnosis import Diagnosis, diagnose_refusal
from modelyard.decide.objects import diagnose_autoscaler, diagnose_ingress, diagnose_route

Json = dict[str, Any]


def ingress(class_name: str | None = None, *, address: bool = False, annotations: Json | None = None) -> Json:
    status = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]} if address else {}}
    spec = {"ingressClassName": class_name} if class_name else {}
    return {"metadata": {"name": "churn", "annotations": annotations or {}}, "spec": spec, "status": status}


CLASS: Json = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}


@pytest.mark.parametrize(
    ("found", "known", "ingress_class", "says"),
    [
        pytest.param(ingress("nginx"), True, CLASS, None, id="its class exists"),
        pytest.param(ingress("ngnix"), True, None, "there is no IngressClass ngnix", id="its class does not"),
        pytest.param(ingress("ngnix"), False, None, None, id="nothing is claimed without rights"),
        pytest.param(ingress(), True, None, "the cluster has no default one", id="no class and no default"),
        pytest.param(ingress(address=True), True, None, None, id="no class, but taken by a controller"),
        pytest.param(
            ingress(annotations={"kubernetes.io/ingress.class": "nginx"}), True, None, None, id="the old annotation"
        ),
    ],
)
def test_an_ingress_that_nobody_serves_is_named(
    found: Json, known: bool, ingress_class: Json | None, says: str | None
) -> None:
    diagnosis = diagnose_ingress(found, known, ingress_class)
    if says is None:
        assert diagnosis is None
    else:
        assert diagnosis is not None
        assert diagnosis.reason is Reason.INGRESS_CLASS_NOT_FOUND
        assert says in diagnosis.message
        assert "spec.rest.ingress.className" in diagnosis.message


def told(kind: str, status: str, reason: str, message: str, generation: int = 2) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation}


def route(*conditions: Json) -> Json:
    parents = [{"parentRef": {"name": "public"}, "conditions": list(conditions)}] if conditions else []
    return {
        "metadata": {"name": "churn", "namespace": "ml", "generation": 2},
        "spec": {"parentRefs": [{"name": "public", "namespace": "edge"}]},
        "status": {"parents": parents},
    }


def gateway(*conditions: Json) -> Json:
    return {"metadata": {"name": "public"}, "status": {"conditions": list(conditions)}}


ACCEPTED = told("Accepted", "True", "Accepted", "")
RESOLVED = told("ResolvedRefs", "True", "ResolvedRefs", "")
NO_HOST = told("Accepted", "False", "NoMatchingListenerHostname", "No intersecting hostnames")


@pytest.mark.parametrize(
    ("found", "parent", "expected"),
    [
        pytest.param(route(ACCEPTED, RESOLVED), gateway(), None, id="accepted"),
        pytest.param(route(), gateway(), None, id="not judged yet"),
        pytest.param(
            route(),
            None,
            Diagnosis(
                Reason.GATEWAY_NOT_FOUND,
                "HTTPRoute churn: there is no Gateway edge/public (spec.rest.gateway.parentRef)",
            ),
            id="no Gateway",
        ),
        pytest.param(
            route(NO_HOST, RESOLVED),
            gateway(),
            Diagnosis(
                Reason.ROUTE_NOT_ACCEPTED,
                "HTTPRoute churn: Gateway edge/public: NoMatchingListenerHostname: No intersecting hostnames",
            ),
            id="refused by the listeners",
        ),
        pytest.param(
            route(ACCEPTED, told("ResolvedRefs", "False", "BackendNotFound", "no Service churn")),
            gateway(),
            Diagnosis(
                Reason.ROUTE_NOT_ACCEPTED, "HTTPRoute churn: Gateway edge/public: BackendNotFound: no Service churn"
            ),
            id="its Service is not found",
        ),
        pytest.param(route({**NO_HOST, "observedGeneration": 1}), gateway(), None, id="the verdict is of before"),
        pytest.param(
            route(),
            gateway(told("Accepted", "Unknown", "Pending", "Waiting for controller")),
            Diagnosis(
                Reason.ROUTE_NOT_ACCEPTED,
                "HTTPRoute churn: Gateway edge/public is not Accepted: Pending: Waiting for controller",
            ),
            id="a Gateway without a controller",
        ),
    ],
)
def test_a_route_that_carries_nothing_is_named(found: Json, parent: Json | None, expected: Diagnosis | None) -> None:
    assert diagnose_route(found, parent) == expected


def hpa(*conditions: Json) -> Json:
    return {"metadata": {"name": "churn"}, "status": {"conditions": list(conditions)}}


ABLE = told("AbleToScale", "True", "SucceededGetScale", "")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(hpa(), None, id="not looked at yet"),
        pytest.param(hpa(ABLE, told("ScalingActive", "True", "ValidMetricFound", "")), None, id="scaling"),
        pytest.param(
            hpa(ABLE, told("ScalingActive", "False", "FailedGetResourceMetric", "no metrics returned")),
            "HorizontalPodAutoscaler churn: FailedGetResourceMetric: no metrics returned",
            id="no metrics",
        ),
        pytest.param(
            hpa(told("AbleToScale", "False", "FailedGetScale", "not found")),
            "HorizontalPodAutoscaler churn: FailedGetScale: not found",
            id="no target",
        ),
        pytest.param(hpa(ABLE, told("ScalingActive", "False", "ScalingDisabled", "zero")), None, id="scaled to zero"),
    ],
)
def test_an_autoscaler_that_cannot_scale_is_named(found: Json, expected: str | None) -> None:
    diagnosis = diagnose_autoscaler(found)
    assert diagnosis == (Diagnosis(Reason.AUTOSCALER_UNABLE, expected) if expected else None)


@pytest.mark.parametrize(
    ("kind", "words", "reason"),
    [
        ("Deployment", 'Deployment.apps "x" is invalid: spec.template.spec.volumes[1]: Required', "ObjectRefused"),
        ("Service", 'services "x" is forbidden: exceeded quota: q, requested: services=1', "QuotaExceeded"),
        ("Deployment", 'admission webhook "w" denied the request: no', "AdmissionDenied"),
        ("Deployment", 'Internal error occurred: failed calling webhook "w": x', "AdmissionWebhookUnavailable"),
        ("HTTPRoute", "404 page not found", "GatewayApiMissing"),
        ("Deployment", "404 page not found", "ObjectRefused"),
    ],
)
def test_an_object_that_the_api_server_refuses_is_named_with_its_words(kind: str, words: str, reason: str) -> None:
    found = diagnose_refusal(kind, "churn", words)
    assert found.reason == reason
    assert found.message.startswith(f"{kind} churn: ")
    assert not found.permanent
