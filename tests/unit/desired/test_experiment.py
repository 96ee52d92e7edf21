from __future__ import annotations

from typing import Any

import pytest

from modelyard.desired.experiment import ConfigMapFiles, GitFiles, Images, TrialRun, trial_job
from tests.unit.decide.experiments import SWEEP, experiment

Json = dict[str, Any]
RUN = TrialRun(
    name="churn-e1-0",
    execution="e1",
    index=0,
    run_id="run-0",
    experiment_id="7",
    tracking_uri="http://tracking:5000",
    command="python train.py",
)
IMAGES = Images("training:1", "operator:1", "IfNotPresent")
GIT = GitFiles("https://git.example/churn.git", "c" * 40, "sub")


def built(template: Json | None = None, files: GitFiles | ConfigMapFiles = GIT) -> Json:
    spec = {**SWEEP, "template": template} if template else SWEEP
    return trial_job(experiment(spec), RUN, files, IMAGES)


def pod(job: Json) -> Json:
    spec: Json = job["spec"]["template"]["spec"]
    return spec


def environment(job: Json) -> dict[str, str]:
    (container,) = pod(job)["containers"]
    return {item["name"]: item["value"] for item in container["env"]}


def test_the_run_is_in_the_environment_and_nothing_of_the_artifact_store() -> None:
    found = environment(built())
    assert found["MLFLOW_RUN_ID"] == "run-0"
    assert found["MLFLOW_EXPERIMENT_ID"] == "7"
    assert found["MLFLOW_TRACKING_URI"] == "http://tracking:5000"
    assert not [name for name in found if "AWS" in name or "S3" in name]


def test_the_template_adds_variables_and_resources_but_does_not_move_the_run() -> None:
    env = [{"name": "HOME", "value": "/home"}, {"name": "MLFLOW_RUN_ID", "value": "x"}, {"name": "A", "value": "1"}]
    job = built({"env": env, "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}})
    found = environment(job)
    assert (found["HOME"], found["A"], found["MLFLOW_RUN_ID"]) == ("/home", "1", "run-0")
    assert pod(job)["containers"][0]["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}


@pytest.mark.parametrize("files", [GIT, ConfigMapFiles("files", "d1")])
def test_pods_keep_the_restricted_standard_and_hold_no_token(files: GitFiles | ConfigMapFiles) -> None:
    spec = pod(built(files=files))
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/workspace", "/tmp"}
    assert {next(iter(volume.keys() - {"name"})) for volume in spec["volumes"]} <= {"emptyDir", "configMap"}


def test_a_git_project_is_fetched_at_its_commit() -> None:
    (fetch,) = pod(built())["initContainers"]
    assert fetch["image"] == "operator:1"
    assert fetch["command"][:3] == ["python", "-m", "modelyard.sources.fetch"]
    assert fetch["command"][3:] == ["https://git.example/churn.git", "c" * 40, "sub", "/workspace"]


def test_a_config_map_is_mounted_and_copied_where_it_can_be_written() -> None:
    spec = pod(built(files=ConfigMapFiles("files", "d1")))
    (fetch,), (trial,) = spec["initContainers"], spec["containers"]
    assert {"name": "project", "configMap": {"name": "files"}} in spec["volumes"]
    assert fetch["command"][3:] == ["--directory", "/project", "d1", "/workspace"]
    assert {"name": "project", "mountPath": "/project", "readOnly": True} in fetch["volumeMounts"]
    assert (trial["workingDir"], trial["command"]) == ("/workspace", ["bash", "-c", "python train.py"])


def test_a_trial_is_tried_once_and_kept_until_its_experiment_goes() -> None:
    job = built()
    assert job["spec"]["backoffLimit"] == 0
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert pod(job)["restartPolicy"] == "Never"
    assert job["metadata"]["ownerReferences"][0]["kind"] == "Experiment"


def test_labels_lead_from_the_experiment_to_its_jobs_and_pods() -> None:
    job = built()
    expected = {
        "app.kubernetes.io/managed-by": "modelyard",
        "modelyard.dev/experiment": "churn",
        "modelyard.dev/execution": "e1",
        "modelyard.dev/trial": "0",
    }
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        assert expected.items() <= metadata["labels"].items()
        assert metadata["annotations"] == {"modelyard.dev/run-id": "run-0"}
