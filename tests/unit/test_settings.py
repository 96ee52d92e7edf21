"""The installation's settings: what is required, what has a default, and which words a mistake gets."""

from __future__ import annotations

import pytest

from modelyard.settings import RegistrySettings, Settings, SettingsError, StoreSettings

COMPLETE = {
    "MODELYARD_TRACKING_URI": "http://tracking:5000/",
    "MODELYARD_ARTIFACT_STORE": "s3://bucket/team/a/",
    "MODELYARD_SERVING_IMAGE": "serving:1",
    "MODELYARD_TRAINING_IMAGE": "training:1",
    "MODELYARD_OPERATOR_IMAGE": "operator:1",
}


@pytest.mark.parametrize("missing", sorted(COMPLETE))
def test_a_missing_variable_is_named(missing: str) -> None:
    environment = {name: value for name, value in COMPLETE.items() if name != missing}
    with pytest.raises(SettingsError, match=missing):
        Settings.from_environment(environment)


@pytest.mark.parametrize("store", ["bucket", "http://bucket", "s3://", "s3:///"])
def test_a_store_that_is_no_bucket_is_refused(store: str) -> None:
    with pytest.raises(SettingsError, match="MODELYARD_ARTIFACT_STORE must be s3://"):
        StoreSettings.from_environment({**COMPLETE, "MODELYARD_ARTIFACT_STORE": store})


@pytest.mark.parametrize(
    ("store", "bucket", "prefix", "artifacts"),
    [
        ("s3://bucket", "bucket", "", "s3://bucket/artifacts"),
        ("s3://bucket/", "bucket", "", "s3://bucket/artifacts"),
        ("s3://bucket/team/a/", "bucket", "team/a", "s3://bucket/team/a/artifacts"),
    ],
)
def test_where_things_are_kept(store: str, bucket: str, prefix: str, artifacts: str) -> None:
    settings = StoreSettings.from_environment({"MODELYARD_ARTIFACT_STORE": store})
    assert (settings.bucket, settings.prefix, settings.artifacts_destination) == (bucket, prefix, artifacts)


def test_defaults() -> None:
    settings = Settings.from_environment(COMPLETE)
    assert settings.tracking_uri == "http://tracking:5000"
    assert (settings.s3_endpoint, settings.s3_region) == (None, "us-east-1")
    assert (settings.reader_access_key, settings.watch_namespaces) == (None, ())
    assert settings.image_pull_policy == "IfNotPresent"
    assert (settings.approval_policy, settings.editor_policy) == (None, None)
    assert settings.operator_namespace is None
    assert "argocd-controller" in settings.git_managers
    assert settings.webhook_hosts == ("*",)


def test_policies_are_named_or_are_not_there() -> None:
    changed = {"MODELYARD_APPROVAL_POLICY": "approvals", "MODELYARD_EDITOR_POLICY": ""}
    settings = Settings.from_environment({**COMPLETE, **changed})
    assert (settings.approval_policy, settings.editor_policy) == ("approvals", None)


def test_argo_cd_is_asked_in_its_usual_namespace_another_one_or_not_at_all() -> None:
    for given, namespace in (({}, "argocd"), ({"MODELYARD_ARGOCD_NAMESPACE": "gitops"}, "gitops")):
        assert Settings.from_environment({**COMPLETE, **given}).argocd_namespace == namespace
    assert Settings.from_environment({**COMPLETE, "MODELYARD_ARGOCD_NAMESPACE": ""}).argocd_namespace is None


def test_lists_are_separated_by_commas() -> None:
    changed = {
        "MODELYARD_WATCH_NAMESPACES": "a, b,",
        "MODELYARD_GIT_MANAGERS": "fluxcd",
        "MODELYARD_WEBHOOK_HOSTS": "ci.example.com,*.corp",
    }
    settings = Settings.from_environment({**COMPLETE, **changed})
    assert (settings.watch_namespaces, settings.git_managers) == (("a", "b"), ("fluxcd",))
    assert settings.webhook_hosts == ("ci.example.com", "*.corp")


def test_an_installation_may_send_no_webhooks_at_all() -> None:
    assert Settings.from_environment({**COMPLETE, "MODELYARD_WEBHOOK_HOSTS": ""}).webhook_hosts == ()


def test_the_tracking_server_needs_no_images() -> None:
    assert RegistrySettings.from_environment({"MODELYARD_ARTIFACT_STORE": "s3://b"}).bucket == "b"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"MODELYARD_PREPARATION_DEADLINE_SECONDS": "soon"}, "MODELYARD_PREPARATION_DEADLINE_SECONDS must be a whole"),
        ({"MODELYARD_PREPARATION_WAIT_SECONDS": "0"}, "MODELYARD_PREPARATION_WAIT_SECONDS must be a whole"),
        ({"MODELYARD_PREPARATION_RESOURCES": "[]"}, "MODELYARD_PREPARATION_RESOURCES must be a JSON object"),
        ({"MODELYARD_PREPARATION_ENV_FROM": "{"}, "MODELYARD_PREPARATION_ENV_FROM must be a JSON list"),
    ],
)
def test_how_versions_are_prepared_is_checked_where_they_are(changed: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_environment({**COMPLETE, "MODELYARD_PREPARATION": "true", **changed})
    assert Settings.from_environment({**COMPLETE, **changed}).preparation is None
