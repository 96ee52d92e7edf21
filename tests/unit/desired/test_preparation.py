"""The Job that prepares a version: what it may do, and what becomes of it."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

import pytest

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.desired.preparation import (
    JobSettings,
    Preparing,
    left_over,
    preparation_job,
    upload_manager,
    upload_secret,
)
from tests.unit.desired.deployments import Json

OWNER = RegisteredModel.parse({"metadata": {"name": "churn", "namespace": "ml", "uid": "u-1"}, "spec": {}})
PREPARING = Preparing("prepare-abc", 3, "s3://b/m", "sha256:" + "3" * 64, "http://web.ml.svc/modelyard/recent")
SETTINGS = JobSettings("serving:1", "Never", 900, {"limits": {"memory": "2Gi"}})


def job(settings: JobSettings = SETTINGS, preparing: Preparing = PREPARING) -> Json:
    return preparation_job(OWNER, preparing, settings)


def container(settings: JobSettings = SETTINGS, preparing: Preparing = PREPARING) -> Json:
    (found,) = job(settings, preparing)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_it_is_the_models_and_named_by_what_it_makes() -> None:
    metadata = job()["metadata"]
    (reference,) = metadata["ownerReferences"]
    assert (metadata["name"], metadata["namespace"]) == ("prepare-abc", "ml")
    assert (reference["kind"], reference["uid"]) == ("RegisteredModel", "u-1")
    assert metadata["labels"]["modelyard.dev/model"] == "churn"
    assert "modelyard.dev/stage" not in metadata["labels"], "it is no gate's"


def test_it_ends_in_time_and_is_replaced_once_where_the_cluster_took_its_pod() -> None:
    spec = job()["spec"]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (900, 1)
    disrupted, ended = spec["podFailurePolicy"]["rules"]
    assert (disrupted["action"], disrupted["onPodConditions"][0]["type"]) == ("Count", "DisruptionTarget")
    assert (ended["action"], ended["onExitCodes"]) == ("FailJob", {"operator": "NotIn", "values": [0]})
    assert spec["ttlSecondsAfterFinished"] > 0


def test_it_fits_the_restricted_standard_and_has_no_token() -> None:
    pod = job()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container()["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True


def test_it_reads_as_model_pods_do_and_writes_by_urls_of_its_own() -> None:
    found = container()
    assert found["envFrom"] == [{"secretRef": {"name": "modelyard-artifacts-reader"}}]
    keys = {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in found["env"] if "valueFrom" in each}
    assert keys == {
        "MODELYARD_PREPARATION_EVIDENCE_URL": "prepare-abc.evidence",
        "MODELYARD_PREPARATION_MODEL_URL": "prepare-abc.model",
        "MODELYARD_PREPARATION_ENVIRONMENT_URL": "prepare-abc.environment",
    }
    secret = upload_secret("ml", "prepare-abc", {"evidence": "e", "model": "m", "environment": "x"})
    assert set(secret["data"]) == set(keys.values())
    assert b64decode(secret["data"]["prepare-abc.model"]) == b"m"


def test_its_urls_are_taken_back_without_touching_those_of_others() -> None:
    assert upload_secret("ml", "prepare-abc", {})["data"] == {}
    assert upload_manager("operator", "prepare-abc") != upload_manager("operator", "prepare-abd")


def test_it_is_told_what_to_prepare() -> None:
    told = {each["name"]: each["value"] for each in container()["env"] if "value" in each}
    assert (told["MODELYARD_MODEL_SOURCE"], told["MODELYARD_MODEL_DIGEST"]) == (PREPARING.artifact, PREPARING.digest)
    assert told["MODELYARD_PREPARATION_RECENT_URL"] == "http://web.ml.svc/modelyard/recent"
    assert (told["MODELYARD_PREPARATION_IMAGE"], told["MODELYARD_PREPARATION_SECONDS"]) == ("serving:1", "900")
    assert container()["command"] == ["python", "-m", "modelyard_serving.preparation"]


@pytest.mark.parametrize("index", [None, "https://packages.example.com/simple"])
def test_the_installation_says_where_libraries_come_from(index: str | None) -> None:
    source = {"secretRef": {"name": "uv"}}
    settings = JobSettings("serving:1", "Never", 900, env_from=(source,), index_url=index)
    found = container(settings, Preparing("prepare-abc", 3, "s3://b/m", "sha256:" + "3" * 64))
    told = {each["name"]: each.get("value") for each in found["env"]}
    assert told.get("UV_DEFAULT_INDEX") == index
    assert found["envFrom"][0] == source
    assert "resources" not in found
    assert "MODELYARD_PREPARATION_RECENT_URL" not in told


def test_urls_that_have_expired_are_left_over() -> None:
    def url(signed: str) -> str:
        return f"http://store/b/k?X-Amz-Date={signed}&X-Amz-Expires=60&X-Amz-Signature=s"

    secrets = [
        upload_secret("ml", "prepare-old", {"evidence": url("20260115T115800Z")}),
        upload_secret("ml", "prepare-new", {"evidence": url("20260115T115930Z")}),
        upload_secret("ml", "prepare-odd", {"evidence": "what somebody has put there"}),
    ]
    merged = {"data": {key: value for secret in secrets for key, value in secret["data"].items()}}
    assert left_over(merged, datetime(2026, 1, 15, 12, tzinfo=UTC)) == {"prepare-old", "prepare-odd"}
    assert left_over(None, datetime(2026, 1, 15, 12, tzinfo=UTC)) == set()
