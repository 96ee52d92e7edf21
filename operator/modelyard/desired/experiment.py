"""Objects of an Experiment: one Job a trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from modelyard.api.experiment import Experiment, TrialTemplate
from modelyard.api.names import (
    ATTEMPT_ANNOTATION,
    EXECUTION_LABEL,
    EXPERIMENT_LABEL,
    RUN_ID_ANNOTATION,
    TRIAL_LABEL,
)
from modelyard.api.rollout import parse_duration
from modelyard.desired.common import CONTAINER_SECURITY, POD_SECURITY, Json, labels, literal, metadata
from modelyard.desired.environment import Entering

TRIAL_CONTAINER = "trial"
FORWARD_CONTAINER = "tracking"
WORKSPACE = "/workspace"
DOCKER_WORKSPACE = "/mlflow/projects/code"
"""Where MLflow puts a project's files in an image of docker_env."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue admits Jobs with this label, which are suspended until then: https://kueue.sigs.k8s.io/docs/tasks/run/jobs/"""

LOCAL_PORT = 5000
_CONNECT = ["python", "-c", f"import socket; socket.create_connection(('127.0.0.1', {LOCAL_PORT}), 1)"]
_COMPONENT = "trial"
_FORWARD_RESOURCES: Json = {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "128Mi"}}


@dataclass(frozen=True)
class Images:
    """What a trial's pod runs: the entry point's image, and the one of the containers that come before it."""

    trial: str
    fetch: str
    pull_policy: str


class Fetching(Protocol):
    """What brings the project's files: init containers that write to the volume at /workspace."""

    @property
    def containers(self) -> Sequence[Json]:
        """The containers, with their mounts."""

    @property
    def volumes(self) -> Sequence[Json]:
        """Their volumes, the workspace among them."""

    @property
    def mounts(self) -> Sequence[Json]:
        """The mounts of the program: the workspace first, then where its parameters' files are."""


@dataclass(frozen=True)
class TrialRun:
    """One trial as it is run: `name` names the Job, `command` is for `bash -c`.

    `context` are the tags of runs that the program makes itself, `variables` those of docker_env.
    """

    name: str
    execution: str
    index: int
    attempt: int
    run_id: str
    experiment_id: str
    tracking_uri: str
    command: str
    context: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    in_docker: bool = False


def trial_job(owner: Experiment, run: TrialRun, fetch: Fetching, entering: Entering, images: Images) -> Json:
    """Return the Job of one trial.

    It is tried once: what failed is for a person to look at. Only a pod that the cluster itself took away is replaced.
    """
    template = owner.spec.trial_template
    identity = {
        EXPERIMENT_LABEL: owner.metadata.name,
        EXECUTION_LABEL: run.execution,
        TRIAL_LABEL: str(run.index),
    }
    annotations = {RUN_ID_ANNOTATION: run.run_id}
    if run.attempt > 1:
        annotations[ATTEMPT_ANNOTATION] = str(run.attempt)
    meta = metadata(owner, run.name, _COMPONENT, identity)
    spec: Json = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": {
            "metadata": {
                "labels": {**template.labels, **labels(_COMPONENT, owner.metadata.name), **identity},
                "annotations": {**template.annotations, **annotations},
            },
            "spec": _pod(owner, run, fetch, entering, images),
        },
    }
    if template.time_limit:
        # Of the Job, so that it ends also what hangs; while a queue holds the Job back it does not count.
        spec["activeDeadlineSeconds"] = int(parse_duration(template.time_limit).total_seconds())
    if template.queue:
        spec["suspend"] = True
        meta["labels"][QUEUE_LABEL] = template.queue
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**meta, "annotations": annotations},
        "spec": spec,
    }


def _pod(owner: Experiment, run: TrialRun, fetch: Fetching, entering: Entering, images: Images) -> Json:
    template = owner.spec.trial_template
    said = template.to_dict()
    forward = [_forward(run, images)] if template.local_tracking_server else []
    spec: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": template.service_account_name is not None,
        "enableServiceLinks": False,
        # As process 1 a program would not be ended by SIGTERM, and hold its pod for the whole grace period.
        "shareProcessNamespace": True,
        "securityContext": POD_SECURITY,
        "initContainers": [*fetch.containers, *entering.init_containers, *forward],
        "containers": [_container(template, run, fetch, entering, images)],
        "volumes": [
            {"name": "modelyard-tmp", "emptyDir": {}},
            *fetch.volumes,
            *entering.volumes,
            *json.loads(json.dumps(said["volumes"])),
        ],
    }
    given = (
        "nodeSelector",
        "tolerations",
        "affinity",
        "priorityClassName",
        "runtimeClassName",
        "serviceAccountName",
        "imagePullSecrets",
    )
    spec.update({name: said[name] for name in given if said.get(name)})
    return spec


def _container(template: TrialTemplate, run: TrialRun, fetch: Fetching, entering: Entering, images: Images) -> Json:
    said = template.to_dict()
    workspace = [{**fetch.mounts[0], "mountPath": DOCKER_WORKSPACE}] if run.in_docker else []
    container: Json = {
        "name": TRIAL_CONTAINER,
        "image": images.trial,
        "imagePullPolicy": images.pull_policy,
        # As MLflow's own project runner starts entry points.
        "command": ["bash", "-c", literal(run.command)],
        "workingDir": DOCKER_WORKSPACE if run.in_docker else WORKSPACE,
        "env": [{"name": name, "value": value} for name, value in _environment(template, run, entering).items()],
        # Programs write where their authors let them; what is outside of volumes goes with the pod.
        "securityContext": {**CONTAINER_SECURITY, "readOnlyRootFilesystem": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "modelyard-tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
            *fetch.mounts,
            *workspace,
            *entering.mounts,
            *said["volumeMounts"],
        ],
    }
    if said["envFrom"]:
        container["envFrom"] = json.loads(json.dumps(said["envFrom"]))
    if template.resources:
        container["resources"] = template.resources.to_dict()
    return container


def _forward(run: TrialRun, images: Images) -> Json:
    """Return the sidecar through which the tracking server is at localhost."""
    return {
        "name": FORWARD_CONTAINER,
        "image": images.fetch,
        "imagePullPolicy": images.pull_policy,
        "restartPolicy": "Always",
        "command": ["python", "-m", "modelyard.sources.forward", str(LOCAL_PORT), run.tracking_uri],
        # By a program in the pod: it listens on the pod's own loopback alone.
        "startupProbe": {"exec": {"command": _CONNECT}, "periodSeconds": 1, "failureThreshold": 60},
        "resources": _FORWARD_RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(template: TrialTemplate, run: TrialRun, entering: Entering) -> dict[str, str]:
    """Return the variables: no credentials among them, since artifacts go through the tracking server."""
    ours = {
        "HOME": "/tmp",  # noqa: S108 - a volume of the pod's own
        "PYTHONUNBUFFERED": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **entering.env,
    }
    theirs = {item.name: item.value for item in template.env}
    fixed = {
        "MLFLOW_RUN_ID": run.run_id,
        "MLFLOW_EXPERIMENT_ID": run.experiment_id,
        "MLFLOW_TRACKING_URI": run.tracking_uri,
        "MLFLOW_RUN_CONTEXT": literal(json.dumps(dict(run.context), sort_keys=True)),
    }
    declared = {name: literal(value) for name, value in run.variables.items()}
    return {**ours, **declared, **theirs, **fixed}
