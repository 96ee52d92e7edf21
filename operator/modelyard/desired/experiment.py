"""Objects of an Experiment: one Job a trial."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.api.experiment import Experiment
from modelyard.api.names import EXECUTION_LABEL, EXPERIMENT_LABEL, RUN_ID_ANNOTATION, TRIAL_LABEL
from modelyard.desired.common import CONTAINER_SECURITY, POD_SECURITY, Json, labels, metadata

FETCH_CONTAINER = "project"
TRIAL_CONTAINER = "trial"
WORKSPACE = "/workspace"
_MOUNTED = "/project"
_COMPONENT = "trial"
_FETCH = ("python", "-m", "modelyard.sources.fetch")
_FETCH_RESOURCES: Json = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}


@dataclass(frozen=True)
class Images:
    """What a trial's pod runs: the entry point's image, and the one that brings the project's files."""

    trial: str
    fetch: str
    pull_policy: str


@dataclass(frozen=True)
class GitFiles:
    """A directory of a git repository at a commit."""

    url: str
    commit: str
    path: str


@dataclass(frozen=True)
class ConfigMapFiles:
    """The files of a ConfigMap, with the digest of their content."""

    name: str
    digest: str


@dataclass(frozen=True)
class TrialRun:
    """One trial as it is run: `name` names the Job, `command` is for `bash -c`."""

    name: str
    execution: str
    index: int
    run_id: str
    experiment_id: str
    tracking_uri: str
    command: str


def trial_job(owner: Experiment, run: TrialRun, files: GitFiles | ConfigMapFiles, images: Images) -> Json:
    """Return the Job of one trial.

    It is tried once: what failed is for a person to look at. Only a pod that the cluster itself took away is replaced.
    """
    identity = {
        EXPERIMENT_LABEL: owner.metadata.name,
        EXECUTION_LABEL: run.execution,
        TRIAL_LABEL: str(run.index),
    }
    annotations = {RUN_ID_ANNOTATION: run.run_id}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata(owner, run.name, _COMPONENT, identity), "annotations": annotations},
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {
                "metadata": {
                    "labels": {**labels(_COMPONENT, owner.metadata.name), **identity},
                    "annotations": annotations,
                },
                "spec": _pod(owner, run, files, images),
            },
        },
    }


def _pod(owner: Experiment, run: TrialRun, files: GitFiles | ConfigMapFiles, images: Images) -> Json:
    volumes: list[Json] = [{"name": "workspace", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    mounts: list[Json] = [
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
    ]
    fetch_mounts = list(mounts)
    if isinstance(files, ConfigMapFiles):
        volumes.append({"name": "project", "configMap": {"name": files.name}})
        fetch_mounts.append({"name": "project", "mountPath": _MOUNTED, "readOnly": True})
        arguments = ["--directory", _MOUNTED, files.digest, WORKSPACE]
    else:
        arguments = [files.url, files.commit, files.path, WORKSPACE]
    fetch = {
        "name": FETCH_CONTAINER,
        "image": images.fetch,
        "command": [*_FETCH, *arguments],
        "resources": _FETCH_RESOURCES,
        "volumeMounts": fetch_mounts,
        **_container_defaults(images),
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "initContainers": [fetch],
        "containers": [_container(owner, run, images, mounts)],
        "volumes": volumes,
    }


def _container(owner: Experiment, run: TrialRun, images: Images, mounts: list[Json]) -> Json:
    template = owner.spec.template
    container: Json = {
        "name": TRIAL_CONTAINER,
        "image": images.trial,
        # As MLflow's own project runner starts entry points.
        "command": ["bash", "-c", run.command],
        "workingDir": WORKSPACE,
        "env": [{"name": name, "value": value} for name, value in _environment(owner, run).items()],
        "volumeMounts": mounts,
        **_container_defaults(images),
    }
    if template and template.resources:
        container["resources"] = template.resources.to_dict()
    return container


def _container_defaults(images: Images) -> Json:
    return {
        "imagePullPolicy": images.pull_policy,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(owner: Experiment, run: TrialRun) -> dict[str, str]:
    """Return the variables: no credentials among them, since artifacts go through the tracking server."""
    ours = {
        "HOME": "/tmp",  # noqa: S108 - a volume of the pod's own
        "PYTHONUNBUFFERED": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    theirs = {item.name: item.value for item in owner.spec.template.env} if owner.spec.template else {}
    fixed = {
        "MLFLOW_RUN_ID": run.run_id,
        "MLFLOW_EXPERIMENT_ID": run.experiment_id,
        "MLFLOW_TRACKING_URI": run.tracking_uri,
    }
    return {**ours, **theirs, **fixed}
