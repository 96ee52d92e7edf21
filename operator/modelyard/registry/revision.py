"""The Git revision behind a stage, where Argo CD or Flux left it: they mark what they apply with their object's name.

Argo CD: https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/ and an Application's
`status.operationState`, which is written before anything is applied: it is never older than what the object has.
Flux: `status.lastAttemptedRevision`; https://fluxcd.io/flux/components/kustomize/kustomizations/, …/helm/helmreleases/.
"""

from __future__ import annotations

from typing import Any

from modelyard.api.common import Metadata
from modelyard.cluster.client import ApiError, Client, Json, NotFound
from modelyard.cluster.resources import ARGOCD_APPLICATIONS, FLUX_HELM_RELEASES, FLUX_KUSTOMIZATIONS, ResourceType
from modelyard.settings import StoreSettings

TRACKING_ID = "argocd.argoproj.io/tracking-id"
TRACKING_LABEL = "app.kubernetes.io/instance"
_FLUX = (
    ("kustomize.toolkit.fluxcd.io", FLUX_KUSTOMIZATIONS),
    ("helm.toolkit.fluxcd.io", FLUX_HELM_RELEASES),
)
_LIMIT = 128
_FORBIDDEN = 403


def git_revision(client: Client, metadata: Metadata, manager: str, settings: StoreSettings) -> str | None:
    """Return the revision that Git's hands last applied to the object, as they name it: a commit, a chart's version.

    `manager` is the field manager whose edit it is about. None where that is not one of `settings.git_managers`, where
    nothing marks the object, or where the Application, Kustomization or HelmRelease that it names is absent or may not
    be read. Raises `ApiError` where the API server does not answer.
    """
    if manager not in settings.git_managers:
        return None
    marked = _marked_by(metadata, settings.argocd_namespace)
    if marked is None:
        return None
    resource, namespace, name = marked
    try:
        status_of = client.get(resource, namespace, name)
    except NotFound:
        return None
    except ApiError as error:
        if error.code == _FORBIDDEN:
            return None
        raise
    found = _argocd_revision(status_of) if resource is ARGOCD_APPLICATIONS else _flux_revision(status_of)
    return found[:_LIMIT] or None


def _marked_by(metadata: Metadata, argocd_namespace: str | None) -> tuple[ResourceType, str, str] | None:
    """Return the object that manages this one, by the marks on it: resource, namespace and name."""
    tracking = metadata.annotations.get(TRACKING_ID, "").partition(":")[0]
    if not tracking:
        for prefix, resource in _FLUX:
            name, namespace = (metadata.labels.get(f"{prefix}/{part}") for part in ("name", "namespace"))
            if name and namespace:
                return resource, namespace, name
        tracking = metadata.labels.get(TRACKING_LABEL, "")
    if not tracking or argocd_namespace is None:
        return None
    # An Application of another namespace than Argo CD's own is named <namespace>_<name>.
    namespace, separator, name = tracking.partition("_")
    return (ARGOCD_APPLICATIONS, namespace, name) if separator else (ARGOCD_APPLICATIONS, argocd_namespace, tracking)


def _argocd_revision(application: Json) -> str:
    """Return what the operation that runs, or ran last, applies; of several sources all, separated by commas."""
    status = application.get("status") or {}
    operation = status.get("operationState") or {}
    requested = (operation.get("operation") or {}).get("sync") or {}
    for place in (operation.get("syncResult") or {}, requested, status.get("sync") or {}):
        if revision := _of(place):
            return revision
    return ""


def _of(place: dict[str, Any]) -> str:
    return str(place.get("revision") or "") or ",".join(place.get("revisions") or [])


def _flux_revision(applied: Json) -> str:
    """Return the commit of `main@sha1:<commit>`, else the revision as it is."""
    revision = str((applied.get("status") or {}).get("lastAttemptedRevision") or "")
    return revision.rpartition("@")[2].rpartition(":")[2]
