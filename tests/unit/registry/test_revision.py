from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelyard.api.common import Metadata
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import (
    ARGOCD_APPLICATIONS,
    FLUX_HELM_RELEASES,
    FLUX_KUSTOMIZATIONS,
    ResourceType,
)
from modelyard.registry.revision import TRACKING_ID, TRACKING_LABEL, git_revision
from tests.fakes.artifacts import SETTINGS
from tests.fakes.cluster import FakeClient

COMMIT = "3f1c2ab0d5e6f7a8b9c0d1e2f3a4b5c6d7e8f901"
GIT = "argocd-controller"
TRACKED = Metadata(
    name="churn",
    namespace="ml",
    annotations={TRACKING_ID: "models:modelyard.dev/RegisteredModel:ml/churn"},
)
FLUX = replace(SETTINGS, git_managers=("kustomize-controller", "helm-controller"))


def labelled(**labels: str) -> Metadata:
    return Metadata(name="churn", namespace="ml", labels=labels)


def flux(group: str, namespace: str = "flux-system", name: str = "models") -> Metadata:
    prefix = f"{group}.toolkit.fluxcd.io"
    return labelled(**{f"{prefix}/name": name, f"{prefix}/namespace": namespace, TRACKING_LABEL: "a-helm-release"})


def cluster(resource: ResourceType, namespace: str, name: str, status: dict[str, Any] | None) -> FakeClient:
    """A cluster with one object of Argo CD's or Flux's."""
    client = FakeClient()
    metadata = {"name": name, "namespace": namespace}
    client.create(resource, namespace, {"metadata": metadata}, "test")
    if status is not None:
        client.apply(resource, {"metadata": metadata, "status": status}, "test", subresource="status")
    return client


def application(status: dict[str, Any] | None, namespace: str = "argocd", name: str = "models") -> FakeClient:
    return cluster(ARGOCD_APPLICATIONS, namespace, name, status)


RUNNING = {"phase": "Running", "operation": {"sync": {"revision": COMMIT}}}
DONE = {"phase": "Succeeded", "operation": {"sync": {"revision": "main"}}, "syncResult": {"revision": COMMIT}}


@pytest.mark.parametrize(
    ("status", "revision"),
    [
        ({"operationState": DONE, "sync": {"revision": "older"}}, COMMIT),
        ({"operationState": RUNNING, "sync": {"revision": "older"}}, COMMIT),
        ({"sync": {"revision": COMMIT}}, COMMIT),
        ({"operationState": {"syncResult": {"revision": "", "revisions": ["a1", "b2"]}}}, "a1,b2"),
        ({"operationState": {"syncResult": {"revisions": ["a" * 100, "b" * 100]}}}, "a" * 100 + "," + "b" * 27),
        ({}, None),
        (None, None),
    ],
    ids=["synced", "syncing", "compared only", "several sources", "many sources", "nothing yet", "no status"],
)
def test_argo_cds_application_knows_the_commit(status: dict[str, Any] | None, revision: str | None) -> None:
    assert git_revision(application(status), TRACKED, GIT, SETTINGS) == revision


def test_the_label_of_argo_cd_names_its_application_too() -> None:
    client = application({"operationState": DONE})
    assert git_revision(client, labelled(**{TRACKING_LABEL: "models"}), GIT, SETTINGS) == COMMIT


def test_an_application_of_another_namespace_is_named_with_it() -> None:
    client = application({"operationState": DONE}, namespace="team-a")
    assert git_revision(client, labelled(**{TRACKING_LABEL: "team-a_models"}), GIT, SETTINGS) == COMMIT


def test_argo_cd_is_looked_for_where_the_installation_says() -> None:
    client = application({"operationState": DONE}, namespace="gitops")
    assert git_revision(client, TRACKED, GIT, replace(SETTINGS, argocd_namespace="gitops")) == COMMIT
    assert git_revision(client, TRACKED, GIT, SETTINGS) is None
    assert git_revision(client, TRACKED, GIT, replace(SETTINGS, argocd_namespace=None)) is None


@pytest.mark.parametrize(
    ("group", "resource", "attempted", "revision"),
    [
        ("kustomize", FLUX_KUSTOMIZATIONS, f"main@sha1:{COMMIT}", COMMIT),
        ("kustomize", FLUX_KUSTOMIZATIONS, f"refs/heads/x:y@sha1:{COMMIT}", COMMIT),
        ("kustomize", FLUX_KUSTOMIZATIONS, None, None),
        ("helm", FLUX_HELM_RELEASES, "1.4.0+3f1c2ab", "1.4.0+3f1c2ab"),
    ],
)
def test_flux_leaves_what_it_attempted_last(
    group: str, resource: ResourceType, attempted: str | None, revision: str | None
) -> None:
    client = cluster(resource, "flux-system", "models", {"lastAttemptedRevision": attempted} if attempted else {})
    assert git_revision(client, flux(group), f"{group}-controller", FLUX) == revision


@pytest.mark.parametrize(
    ("metadata", "manager"),
    [(TRACKED, "kubectl-edit"), (TRACKED, "mlflow"), (labelled(), GIT), (labelled(team="x"), GIT)],
)
def test_nobody_is_asked_about_an_edit_that_is_not_gits_or_an_object_that_nobody_marked(
    metadata: Metadata, manager: str
) -> None:
    client = application({"operationState": DONE})
    client.requests.clear()
    assert git_revision(client, metadata, manager, SETTINGS) is None
    assert client.requests == []


def failing(code: int) -> FakeClient:
    def answer(*_: str) -> None:
        raise ApiError(code, "Why", "no")

    return FakeClient(on_request=answer)


def test_what_is_absent_or_may_not_be_read_is_not_known() -> None:
    assert git_revision(FakeClient(), TRACKED, GIT, SETTINGS) is None
    assert git_revision(failing(403), TRACKED, GIT, SETTINGS) is None


def test_an_api_server_that_does_not_answer_is_not_taken_for_no_revision() -> None:
    with pytest.raises(ApiError):
        git_revision(failing(0), TRACKED, GIT, SETTINGS)
