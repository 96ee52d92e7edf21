"""Which resources the operator speaks about, and their REST paths."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.api.common import Resource
from modelyard.api.names import GROUP, VERSION


@dataclass(frozen=True)
class ResourceType:
    """One resource of the API server. `group` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self,
        namespace: str | None,
        name: str | None = None,
        subresource: str | None = None,
    ) -> str:
        """Return the REST path of the collection, an object or a subresource; `namespace` None means all namespaces."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part is not None]
        return "/".join(parts)


def of_kind(kind: type[Resource]) -> ResourceType:
    """Return the resource of one of our own kinds."""
    return ResourceType(GROUP, VERSION, kind.plural, kind.kind_name)


CONFIG_MAPS = ResourceType("", "v1", "configmaps", "ConfigMap")
PODS = ResourceType("", "v1", "pods", "Pod")
SECRETS = ResourceType("", "v1", "secrets", "Secret")
SERVICES = ResourceType("", "v1", "services", "Service")
EVENTS = ResourceType("events.k8s.io", "v1", "events", "Event")
DEPLOYMENTS = ResourceType("apps", "v1", "deployments", "Deployment")
JOBS = ResourceType("batch", "v1", "jobs", "Job")
INGRESSES = ResourceType("networking.k8s.io", "v1", "ingresses", "Ingress")
INGRESS_CLASSES = ResourceType("networking.k8s.io", "v1", "ingressclasses", "IngressClass")
"""Of the whole cluster: its namespace is None."""

NETWORK_POLICIES = ResourceType("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
HTTP_ROUTES = ResourceType("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
"""The Gateway API's, which not every cluster has."""

HORIZONTAL_POD_AUTOSCALERS = ResourceType("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
POD_DISRUPTION_BUDGETS = ResourceType("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
GATEWAYS = ResourceType("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
VALIDATING_ADMISSION_POLICIES = ResourceType(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy"
)
VALIDATING_ADMISSION_POLICY_BINDINGS = ResourceType(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"
)
SELF_SUBJECT_REVIEWS = ResourceType("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")

# What Git's hands keep of what they apply.
ARGOCD_APPLICATIONS = ResourceType("argoproj.io", "v1alpha1", "applications", "Application")
FLUX_KUSTOMIZATIONS = ResourceType("kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "Kustomization")
FLUX_HELM_RELEASES = ResourceType("helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease")

BY_KIND = {
    resource.kind: resource
    for resource in (
        CONFIG_MAPS,
        PODS,
        SECRETS,
        SERVICES,
        DEPLOYMENTS,
        JOBS,
        INGRESSES,
        NETWORK_POLICIES,
        HORIZONTAL_POD_AUTOSCALERS,
        POD_DISRUPTION_BUDGETS,
        HTTP_ROUTES,
    )
}
