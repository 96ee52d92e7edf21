from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.gates import ValidationJob
from modelyard.api.names import is_dns_label
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.desired.validation import Surroundings, Trial, job_name, validation_job

Json = dict[str, Any]
DIGEST = "sha256:" + "a" * 64
ATTEMPT = "0123456789abcdef" * 4
AROUND = Surroundings("training:1", "IfNotPresent", "http://tracking:5000")


def model(name: str = "churn-model-7a", **spec: Any) -> RegisteredModel:
    metadata = {"name": name, "namespace": "ml", "uid": "u1"}
    return RegisteredModel.parse({"metadata": metadata, "spec": {"name": "Churn Model", **spec}})


def built(**job: Any) -> Json:
    parsed = ValidationJob.model_validate({"command": ["python", "-c", "x"], **job})
    trial = Trial("smoke-test", parsed, "production", 3, "s3://models/team/artifacts/3", DIGEST, ATTEMPT)
    return validation_job(model(), trial, AROUND)


def pod(job: Json) -> Json:
    spec: Json = job["spec"]["template"]["spec"]
    return spec


def environment(job: Json) -> dict[str, str]:
    (container,) = pod(job)["containers"]
    return {item["name"]: item["value"] for item in container["env"]}


def test_the_candidate_is_in_the_environment() -> None:
    found = environment(built())
    wanted = {
        "MODEL_URI": "s3://models/team/artifacts/3",
        "MLFLOW_MODEL_URI": "models:/Churn Model/3",
        "MODEL_NAME": "Churn Model",
        "MODEL_VERSION": "3",
        "MODEL_DIGEST": DIGEST,
        "STAGE": "Production",
        "MLFLOW_TRACKING_URI": "http://tracking:5000",
    }
    assert wanted.items() <= found.items()


def test_credentials_are_those_of_the_namespace_s_readers() -> None:
    (container,) = pod(built())["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "modelyard-artifacts-reader"}}]
    assert not [name for name in environment(built()) if name.startswith("AWS")]


def test_variables_of_the_gate_do_not_change_what_is_tried() -> None:
    found = environment(
        built(env=[{"name": "MODEL_URI", "value": "s3://other"}, {"name": "HOME", "value": "/x"}, {"name": "A"}])
    )
    assert (found["MODEL_URI"], found["HOME"], found["A"]) == ("s3://models/team/artifacts/3", "/x", "")


def test_the_gate_s_job_is_what_runs() -> None:
    job = built(
        image="own:2",
        command=["pytest"],
        args=["-q"],
        resources={"requests": {"cpu": "1"}},
        timeoutSeconds=60,
        serviceAccountName="checker",
        nodeSelector={"gpu": "yes"},
    )
    (container,) = pod(job)["containers"]
    assert (container["image"], container["command"], container["args"]) == ("own:2", ["pytest"], ["-q"])
    assert container["resources"] == {"requests": {"cpu": "1"}}
    assert (pod(job)["serviceAccountName"], pod(job)["automountServiceAccountToken"]) == ("checker", True)
    assert pod(job)["nodeSelector"] == {"gpu": "yes"}
    assert pod(job)["activeDeadlineSeconds"] == 60
    assert job["spec"]["activeDeadlineSeconds"] > 60


def test_the_image_of_training_runs_where_the_gate_names_none() -> None:
    (container,) = pod(built())["containers"]
    assert container["image"] == "training:1"
    assert "args" not in container


def test_pods_keep_the_restricted_standard_and_hold_no_token() -> None:
    spec = pod(built())
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_job_is_tried_once_but_for_what_the_cluster_itself_takes_away() -> None:
    spec = built()["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["podFailurePolicy"]["rules"] == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ]
    assert pod(built())["restartPolicy"] == "Never"


def test_the_model_s_last_words_reach_the_status() -> None:
    (container,) = pod(built())["containers"]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_job_goes_with_its_model_and_its_events_come_to_it() -> None:
    job = built()
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("RegisteredModel", "churn-model-7a", "u1")
    wanted = {
        "app.kubernetes.io/managed-by": "modelyard",
        "modelyard.dev/model": "churn-model-7a",
        "modelyard.dev/gate": "smoke-test",
        "modelyard.dev/stage": "production",
        "modelyard.dev/model-version": "3",
    }
    assert wanted.items() <= job["metadata"]["labels"].items()
    assert wanted.items() <= job["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("name", "gate"),
    [("churn", "smoke"), ("c" * 52, "g" * 63), ("c" * 49 + "-7a", "smoke"), ("a", "b")],
)
def test_names_fit_and_are_the_same_each_time(name: str, gate: str) -> None:
    found = job_name(model(name), gate, ATTEMPT)
    assert is_dns_label(found)
    assert found == job_name(model(name), gate, ATTEMPT)
    assert found != job_name(model(name), gate, ATTEMPT[::-1])
