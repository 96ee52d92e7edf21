"""The Job of a gate: it tries out a version that is to enter a stage, and passes by ending with exit code 0."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.api.gates import ValidationJob
from modelyard.api.names import (
    GATE_LABEL,
    MODEL_DIGEST_ANNOTATION,
    MODEL_NAME_ANNOTATION,
    MODEL_VERSION_LABEL,
    REGISTERED_MODEL_LABEL,
    STAGE_LABEL,
)
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import ASSIGNABLE
from modelyard.desired.common import CONTAINER_SECURITY, POD_SECURITY, Json, labels, metadata
from modelyard.desired.reader import CONTROL_TOKEN, READER_SECRET

CONTAINER = "validation"
START_SECONDS = 900
"""How long a Job may take besides running: until its pod has a node and an image, or a lost node's pod a new one."""

KEPT_SECONDS = 86400
"""How long a Job stays after it has ended; its log and verdict are in the artifact store by then."""

_COMPONENT = "validation"
_NAME_LIMIT = 63
_ATTEMPT_SHOWN = 12


@dataclass(frozen=True)
class Trial:
    """One run of a gate's Job: which gate, for which version and stage. `attempt` tells it from every other run."""

    gate: str
    job: ValidationJob
    stage: str
    version: int
    artifact: str
    digest: str
    attempt: str


@dataclass(frozen=True)
class Surroundings:
    """What of the installation a Job needs."""

    image: str
    pull_policy: str
    tracking_uri: str


def job_name(owner: RegisteredModel, gate: str, attempt: str) -> str:
    """Return the name of the Job, which is the same whenever it is asked for the same attempt."""
    suffix = attempt[:_ATTEMPT_SHOWN]
    readable = f"{owner.metadata.name}-{gate}"[: _NAME_LIMIT - len(suffix) - 1].rstrip("-")
    return f"{readable}-{suffix}"


def validation_job(owner: RegisteredModel, trial: Trial, around: Surroundings) -> Json:
    """Return the Job.

    It is tried once: a model that passes at the second try is not known to be good. Only a pod that the cluster itself
    took away is replaced.
    """
    identity = {
        REGISTERED_MODEL_LABEL: owner.metadata.name,
        GATE_LABEL: trial.gate,
        STAGE_LABEL: trial.stage,
        MODEL_VERSION_LABEL: str(trial.version),
    }
    annotations = {MODEL_NAME_ANNOTATION: owner.model_name, MODEL_DIGEST_ANNOTATION: trial.digest}
    meta = metadata(owner, job_name(owner, trial.gate, trial.attempt), _COMPONENT, identity)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**meta, "annotations": annotations},
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "activeDeadlineSeconds": trial.job.timeout_seconds + START_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {
                    "labels": {**labels(_COMPONENT, owner.metadata.name), **identity},
                    "annotations": annotations,
                },
                "spec": _pod(owner, trial, around),
            },
        },
    }


def _pod(owner: RegisteredModel, trial: Trial, around: Surroundings) -> Json:
    job = trial.job
    pod: Json = {
        "restartPolicy": "Never",
        # The kubelet stops a pod that takes too long and leaves its log; the Job's own deadline removes the pod.
        "activeDeadlineSeconds": job.timeout_seconds,
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": job.service_account_name is not None,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "containers": [_container(owner, trial, around)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    if job.service_account_name:
        pod["serviceAccountName"] = job.service_account_name
    if job.node_selector:
        pod["nodeSelector"] = dict(job.node_selector)
    return pod


def _container(owner: RegisteredModel, trial: Trial, around: Surroundings) -> Json:
    job = trial.job
    container: Json = {
        "name": CONTAINER,
        "image": job.image or around.image,
        "imagePullPolicy": around.pull_policy,
        "command": list(job.command),
        "env": [{"name": name, "value": value} for name, value in _environment(owner, trial, around).items()],
        "envFrom": [{"secretRef": {"name": READER_SECRET}}],
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the container
    }
    if job.args:
        container["args"] = list(job.args)
    if job.resources:
        container["resources"] = job.resources.to_dict()
    return container


def _environment(owner: RegisteredModel, trial: Trial, around: Surroundings) -> dict[str, str]:
    """Return the variables; those that read the artifact store come from the namespace's Secret."""
    ours = {
        "HOME": "/tmp",  # noqa: S108 - a volume of the pod's own
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    theirs = {item.name: item.value for item in trial.job.env}
    fixed = {
        "MODEL_URI": trial.artifact,
        "MLFLOW_MODEL_URI": f"models:/{owner.model_name}/{trial.version}",
        "MODEL_NAME": owner.model_name,
        "MODEL_VERSION": str(trial.version),
        "MODEL_DIGEST": trial.digest,
        "STAGE": ASSIGNABLE[trial.stage].value,
        "MLFLOW_TRACKING_URI": around.tracking_uri,
        # The Secret also has what opens the model pods to the operator, which is not a Job's business.
        CONTROL_TOKEN: "",
    }
    return {**ours, **theirs, **fixed}
