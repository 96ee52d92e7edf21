"""Looks at what surrounds a ModelDeployment: the class of its Ingress, its Gateway, its autoscaler."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from modelyard.api.common import ConditionStatus
from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.reasons import ConditionType, Reason
from modelyard.api.rollout import Strategy, TrafficMethod
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.resources import GATEWAYS, INGRESS_CLASSES, ResourceType
from modelyard.decide.conditions import Verdict
from modelyard.decide.objects import autoscaler_active, diagnose_autoscaler, diagnose_ingress, diagnose_route
from modelyard.decide.pods import Diagnosis
from modelyard.reconcile.base import Clock
from modelyard.reconcile.deployment_objects import Live

Json = dict[str, Any]

NGINX_CONTROLLER = "k8s.io/ingress-nginx"
"""What an IngressClass of ingress-nginx names: https://kubernetes.github.io/ingress-nginx/user-guide/multiple-ingress/."""

_FORBIDDEN = 403


KEPT = timedelta(seconds=20)
"""How long what was read is good for: classes and Gateways are few, seldom change, and are not watched."""


class Surroundings:
    """Reads what is not the operator's."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._read: dict[tuple[str, str | None, str], tuple[datetime, tuple[bool, Json | None]]] = {}

    def method(self, owner: ModelDeployment) -> TrafficMethod:
        """Return by what a share of the traffic can be given to a candidate here."""
        rest = owner.spec.rest
        if rest.gateway is not None:
            return TrafficMethod.HTTP_ROUTE
        if rest.ingress is None or rest.rollout is None or rest.rollout.strategy != Strategy.CANARY:
            return TrafficMethod.POD_COUNTS
        _, found = self._class(rest.ingress.class_name)
        nginx = found is not None and found.get("spec", {}).get("controller") == NGINX_CONTROLLER
        return TrafficMethod.INGRESS_CANARY if nginx else TrafficMethod.POD_COUNTS

    def diagnose(self, owner: ModelDeployment, live: Live) -> Diagnosis | None:
        """Return what is wrong around the pods."""
        rest = owner.spec.rest
        if live.ingress is not None and rest.ingress is not None:
            known, found = self._class(live.ingress.get("spec", {}).get("ingressClassName"))
            fault = diagnose_ingress(live.ingress, known, found)
            if fault:
                return fault
        if live.route is not None and rest.gateway is not None:
            reference = rest.gateway.parent_ref
            may, gateway = self._known(GATEWAYS, reference.namespace or owner.metadata.namespace, reference.name)
            fault = diagnose_route(live.route, gateway) if may else None
            if fault:
                return fault
        return None

    @staticmethod
    def autoscaler(live: Live) -> Verdict | None:
        """Return how the autoscaler does, once it has looked at the pods."""
        if live.autoscaler is None:
            return None
        fault = diagnose_autoscaler(live.autoscaler)
        if fault is not None:
            return Verdict(ConditionType.SCALABLE, ConditionStatus.FALSE, fault.reason, fault.message)
        if not autoscaler_active(live.autoscaler):
            return None
        text = "the HorizontalPodAutoscaler sets the number of pods"
        return Verdict(ConditionType.SCALABLE, ConditionStatus.TRUE, Reason.AUTOSCALER_ACTIVE, text)

    def _class(self, name: str | None) -> tuple[bool, Json | None]:
        return (True, None) if name is None else self._known(INGRESS_CLASSES, None, name)

    def _known(self, resource: ResourceType, namespace: str | None, name: str) -> tuple[bool, Json | None]:
        """Return whether the object may be read, and the object, if there is one."""
        key, now = (resource.plural, namespace, name), self._clock()
        at, found = self._read.get(key, (None, (False, None)))
        if at is not None and now - at < KEPT:
            return found
        found = self._look(resource, namespace, name)
        self._read[key] = (now, found)
        return found

    def _look(self, resource: ResourceType, namespace: str | None, name: str) -> tuple[bool, Json | None]:
        try:
            return True, self._client.get(resource, namespace, name)
        except NotFound:
            return True, None
        except ApiError as error:
            if error.code != _FORBIDDEN:
                raise
            return False, None
