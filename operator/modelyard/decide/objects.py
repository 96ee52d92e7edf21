"""What is wrong with the objects around the pods: the way from outside, and the autoscaler.

All take live objects as the API server shows them.
"""

from __future__ import annotations

from typing import Any

from modelyard.api.reasons import Reason
from modelyard.decide.diagnosis import Diagnosis, condition, short

Json = dict[str, Any]

_LEGACY_CLASS = "kubernetes.io/ingress.class"
_NO_TARGET_PODS = "ScalingDisabled"


def diagnose_ingress(ingress: Json, classes_known: bool, ingress_class: Json | None) -> Diagnosis | None:
    """Return why nobody serves the Ingress, as far as IngressClasses tell.

    `ingress_class` is the live IngressClass that the Ingress names, `classes_known` says whether the operator may read
    them: without that, nothing is claimed. The API server writes the default class into an Ingress that names none, so
    a live one without a class has found no default. Some controllers take it nonetheless; they publish an address.
    """
    if not classes_known or ingress_class is not None:
        return None
    name, spec = ingress["metadata"]["name"], ingress.get("spec", {})
    wanted = spec.get("ingressClassName")
    if wanted:
        text = f"Ingress {name}: there is no IngressClass {wanted} (spec.rest.ingress.className)"
        return Diagnosis(Reason.INGRESS_CLASS_NOT_FOUND, short(text))
    taken = ingress.get("status", {}).get("loadBalancer", {}).get("ingress")
    if taken or _LEGACY_CLASS in ingress["metadata"].get("annotations", {}):
        return None
    text = f"Ingress {name} names no class and the cluster has no default one: set spec.rest.ingress.className"
    return Diagnosis(Reason.INGRESS_CLASS_NOT_FOUND, text)


def diagnose_route(route: Json, gateway: Json | None) -> Diagnosis | None:
    """Return why the HTTPRoute carries no request; None where it does, or where its Gateway has not judged it yet.

    `gateway` is the live Gateway that the route's first parentRef names.
    """
    metadata = route["metadata"]
    reference = (route.get("spec", {}).get("parentRefs") or [{}])[0]
    where = f"{reference.get('namespace', metadata.get('namespace', ''))}/{reference.get('name', '')}"
    if gateway is None:
        text = f"HTTPRoute {metadata['name']}: there is no Gateway {where} (spec.rest.gateway.parentRef)"
        return Diagnosis(Reason.GATEWAY_NOT_FOUND, short(text))
    for parent in route.get("status", {}).get("parents") or []:
        for kind in ("Accepted", "ResolvedRefs"):
            found = condition(parent, kind)
            if found and found["status"] == "False" and _judged(found, metadata):
                text = f"HTTPRoute {metadata['name']}: Gateway {where}: {found.get('reason')}: {found.get('message')}"
                return Diagnosis(Reason.ROUTE_NOT_ACCEPTED, short(text))
    return _unready_gateway(route, gateway, where)


def _judged(found: Json, metadata: Json) -> bool:
    """Whether a condition speaks of the present spec."""
    return bool(found.get("observedGeneration", 0) >= metadata.get("generation", 0))


def _unready_gateway(route: Json, gateway: Json, where: str) -> Diagnosis | None:
    """Look at the Gateway itself, where it says nothing of the route: its class may have no controller."""
    if route.get("status", {}).get("parents"):
        return None
    for kind in ("Accepted", "Programmed"):
        found = condition(gateway.get("status", {}), kind)
        if found is not None and found["status"] != "True":
            message = f"Gateway {where} is not {kind}: {found.get('reason')}: {found.get('message')}"
            return Diagnosis(Reason.ROUTE_NOT_ACCEPTED, short(f"HTTPRoute {route['metadata']['name']}: {message}"))
    return None


def autoscaler_active(hpa: Json) -> bool:
    """Whether the HorizontalPodAutoscaler has said that it scales."""
    found = condition(hpa.get("status", {}), "ScalingActive")
    return found is not None and found["status"] == "True"


def diagnose_autoscaler(hpa: Json) -> Diagnosis | None:
    """Return why the HorizontalPodAutoscaler does not scale; None where it does, or has not been looked at yet.

    With no pod wanted it is switched off by Kubernetes, which is no fault.
    """
    for kind in ("AbleToScale", "ScalingActive"):
        found = condition(hpa.get("status", {}), kind)
        if found and found["status"] == "False" and found.get("reason") != _NO_TARGET_PODS:
            text = f"HorizontalPodAutoscaler {hpa['metadata']['name']}: {found.get('reason')}: {found.get('message')}"
            return Diagnosis(Reason.AUTOSCALER_UNABLE, short(text))
    return None
