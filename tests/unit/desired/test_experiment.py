from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from modelyard.api.project_files import GitFiles, ImageFiles, KeptFiles, ProjectFiles, TrialEnvironment
from modelyard.desired.environment import entering
from modelyard.desired.experiment import Images, TrialRun, trial_job
from modelyard.desired.project_files import fetching
from tests.unit.decide.experiments import SWEEP, experiment

Json = dict[str, Any]
RUN = TrialRun(
    name="churn-e1-0",
    execution="e1",
    index=0,
    attempt=1,
    run_id="run-0",
    experiment_id="7",
    tracking_uri="http://tracking:5000",
    command="python train.py",
    context={"mlflow.parentRunId": "run-0"},
)
IMAGES = Images("training:1", "operator:1", "IfNotPresent")
GIT = GitFiles("https://git.example/churn.git", "c" * 40, "sub")


KEPT = KeptFiles("s3://models/projects/ab.tar.gz", "ab", "configmap:files")
PLAIN = TrialEnvironment("k", "training:1")
BUILT = TrialEnvironment("k", "training:1", archive="s3://models/environments/k/environment.tar.gz", digest="sha256:1")


def built(
    template: Json | None = None,
    files: ProjectFiles = GIT,
    environment: TrialEnvironment = PLAIN,
    run: TrialRun = RUN,
) -> Json:
    spec = {**SWEEP, "template": template} if template else SWEEP
    return trial_job(experiment(spec), run, fetching(files, (), (), IMAGES), entering(environment, IMAGES), IMAGES)


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
    # The CRD refuses MLFLOW_RUN_ID; an older one may not.
    job = built({"env": env, "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}})
    found = environment(job)
    assert (found["HOME"], found["A"], found["MLFLOW_RUN_ID"]) == ("/home", "1", "run-0")
    assert pod(job)["containers"][0]["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}


@pytest.mark.parametrize("environment", [PLAIN, BUILT])
@pytest.mark.parametrize("files", [GIT, KEPT, ImageFiles("/opt/churn")])
def test_pods_keep_the_restricted_standard_and_hold_no_token(
    files: ProjectFiles, environment: TrialEnvironment
) -> None:
    spec = pod(built({"localTrackingServer": True}, files, environment))
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec["initContainers"], *spec["containers"]):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
    assert {next(iter(volume.keys() - {"name"})) for volume in spec["volumes"]} == {"emptyDir"}


def test_what_brings_files_and_libraries_has_credentials_and_the_program_has_none() -> None:
    spec = pod(built(files=KEPT, environment=BUILT))
    names = [each["name"] for each in spec["initContainers"]]
    assert names == ["project", "environment"]
    assert all(each["envFrom"] for each in spec["initContainers"])
    (trial,) = spec["containers"]
    assert "envFrom" not in trial
    mounts = {mount["mountPath"] for mount in trial["volumeMounts"]}
    assert mounts == {"/workspace", "/tmp", "/environment"}
    assert (trial["workingDir"], trial["command"]) == ("/workspace", ["bash", "-c", "python train.py"])


def test_names_of_mounts_are_names_of_volumes() -> None:
    template = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "churn"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    docker = replace(RUN, in_docker=True)
    spec = pod(built(template, KEPT, BUILT, docker))
    volumes = [volume["name"] for volume in spec["volumes"]]
    assert len(set(volumes)) == len(volumes)
    for container in (*spec["initContainers"], *spec["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(set(paths)) == len(paths)
    assert spec["containers"][0]["workingDir"] == "/mlflow/projects/code"


def test_the_template_says_where_and_as_whom_a_trial_runs() -> None:
    said = {
        "nodeSelector": {"gpu": "a100"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "priorityClassName": "batch",
        "runtimeClassName": "gvisor",
        "serviceAccountName": "trainer",
        "imagePullSecrets": [{"name": "registry"}],
    }
    extra = {"labels": {"team": "churn"}, "annotations": {"note": "x"}, "envFrom": [{"secretRef": {"name": "feast"}}]}
    job = built({**said, **extra})
    assert said.items() <= pod(job).items()
    assert pod(job)["automountServiceAccountToken"] is True
    assert pod(job)["containers"][0]["envFrom"] == [{"secretRef": {"name": "feast"}}]
    metadata = job["spec"]["template"]["metadata"]
    assert (metadata["labels"]["team"], metadata["annotations"]["note"]) == ("churn", "x")


def test_a_queue_gets_the_job_suspended_and_a_limit_of_time_ends_it() -> None:
    job = built({"queue": "research", "timeLimit": "1h30m"})
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert job["spec"]["activeDeadlineSeconds"] == 5400
    assert not {"suspend", "activeDeadlineSeconds"} & built()["spec"].keys()


def test_scripts_that_name_localhost_find_the_tracking_server_there() -> None:
    *_, sidecar = pod(built({"localTrackingServer": True}))["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["command"][-2:] == ["5000", "http://tracking:5000"]
    assert "envFrom" not in sidecar
    assert [each["name"] for each in pod(built())["initContainers"]] == ["project"]


def test_runs_that_the_program_makes_itself_are_told_where_they_belong() -> None:
    assert json.loads(environment(built())["MLFLOW_RUN_CONTEXT"]) == {"mlflow.parentRunId": "run-0"}


def test_nothing_of_a_command_is_replaced_by_the_kubelet() -> None:
    job = built(run=replace(RUN, command="python train.py '$(MLFLOW_RUN_ID)' $$ $HOME", variables={"A": "$(HOME)"}))
    (container,) = pod(job)["containers"]
    # As the kubelet reads it: $$ is $, and $(NAME) a variable.
    assert container["command"][2] == "python train.py '$$(MLFLOW_RUN_ID)' $$$$ $$HOME"
    assert environment(job)["A"] == "$$(HOME)"


def test_a_trial_that_is_run_again_says_which_attempt_it_is() -> None:
    again = built(run=replace(RUN, attempt=2, name="churn-e1-0-r2"))
    assert again["metadata"]["annotations"]["modelyard.dev/attempt"] == "2"
    assert "modelyard.dev/attempt" not in built()["metadata"]["annotations"]


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
