"""The Job that makes an environment, the Secret by which it may write three objects, and how trials come to have it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelyard.api.experiment import Experiment
from modelyard.api.names import EXPERIMENT_LABEL
from modelyard.api.project_files import TrialEnvironment
from modelyard.desired.common import CONTAINER_SECURITY, POD_SECURITY, Json, labels, metadata, tried_once
from modelyard.desired.reader import READER_SECRET

COMPONENT = "environment"
SECRET = "modelyard-environments"  # noqa: S105 - the name of an object
"""One Secret of each namespace: Jobs have keys of their own in it, which are removed with what they were for."""

ENVIRONMENT = "/environment"
"""Where an environment is built and, at the same path, used."""

TOOLS_CONTAINER, CONDA_CONTAINER, BUILD_CONTAINER, UPLOAD_CONTAINER = "tools", "conda", "build", "upload"
ENTER_CONTAINER = "environment"
ACTIVATE = f"{ENVIRONMENT}/etc/modelyard/activate.sh"

KEPT_SECONDS = 3600
"""How long a Job stays after it has ended, with its log."""

RETRIES = 2
"""How often a pod is replaced that the cluster took away. One that ends by itself is not tried again."""

_WORK = "/modelyard"
_VOLUME = "modelyard-environment"
_SMALL: Json = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "768Mi"}}
_PROGRAM = ("python", "-m", "modelyard_environments")
_OBJECTS = "modelyard.artifacts.environment"

UPLOADS = ("report", "archive", "lock")
"""The Secret's keys of a Job end in these."""

_BUILD = (
    # An image without a Python cannot be asked for its packages; where none are wanted that is no failure.
    "for python in python3 python; do "
    "$python -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && break; python=; done; "
    f'if [ -z "$python" ]; then echo > {_WORK}/no-python; echo "the image has no Python from 3.9 on"; exit 0; fi; '
    f"PYTHONPATH={_WORK}/lib exec $python -m modelyard_environments build {_WORK} {ENVIRONMENT}"
)


@dataclass(frozen=True)
class Building:
    """One environment that is to be made: the Job's name, the environment's key, the trial's image.

    `recipe` is the s3:// URI of what it is made of, `conda` says whether channels are to be asked.
    """

    job: str
    key: str
    image: str
    recipe: str
    conda: bool = False


@dataclass(frozen=True)
class JobSettings:
    """What of the installation the Job needs."""

    operator_image: str
    pull_policy: str
    deadline_seconds: int
    resources: Mapping[str, Any] = field(default_factory=dict)
    env_from: tuple[Mapping[str, Any], ...] = ()
    index_url: str | None = None
    channel_alias: str | None = None


class InitImage(Protocol):
    """The image of init containers."""

    @property
    def fetch(self) -> str:
        """The operator's image."""

    @property
    def pull_policy(self) -> str:
        """As in a container."""


@dataclass(frozen=True)
class Entering:
    """What a trial's pod has besides, so that its program runs with an environment; nothing where there is none."""

    init_containers: tuple[Json, ...] = ()
    volumes: tuple[Json, ...] = ()
    mounts: tuple[Json, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def entering(environment: TrialEnvironment, images: InitImage) -> Entering:
    """Return what unpacks an environment at /environment and puts it first in the program's PATH.

    bash sources the file that BASH_ENV names before it runs the command: a container's own PATH cannot be added to.
    """
    if environment.archive is None:
        return Entering()
    container = {
        "name": ENTER_CONTAINER,
        "image": images.fetch,
        "imagePullPolicy": images.pull_policy,
        "command": ["python", "-m", _OBJECTS, "enter", environment.archive, environment.digest or "", ENVIRONMENT],
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - inside the container
        "envFrom": [{"secretRef": {"name": READER_SECRET}}],
        "resources": _SMALL,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": _VOLUME, "mountPath": ENVIRONMENT}],
    }
    return Entering(
        init_containers=(container,),
        volumes=({"name": _VOLUME, "emptyDir": {}},),
        mounts=({"name": _VOLUME, "mountPath": ENVIRONMENT},),
        env={"BASH_ENV": ACTIVATE},
    )


def upload_secret(namespace: str, job: str, urls: Mapping[str, str]) -> Json:
    """Return the Job's part of the Secret: `urls` by the names in UPLOADS; empty to take it back."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": SECRET, "namespace": namespace, "labels": labels(COMPONENT, "modelyard")},
        "data": {f"{job}.{name}": b64encode(url.encode()).decode() for name, url in urls.items()},
    }


def environment_job(owner: Experiment, building: Building, settings: JobSettings) -> Json:
    """Return the Job.

    What builds runs in the trial's image and gets no credentials; what uploads runs no code of that.
    """
    template = owner.spec.trial_template
    pod: Json = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "initContainers": _init_containers(building, settings),
        "containers": [_upload(building, settings)],
        "volumes": [{"name": name, "emptyDir": {}} for name in ("work", "environment", "tmp")],
    }
    # Where trials run: on machines of another kind the environment might not work, or the image not be had.
    if template.node_selector:
        pod["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        pod["tolerations"] = [each.to_dict() for each in template.tolerations]
    if template.image_pull_secrets:
        pod["imagePullSecrets"] = [each.to_dict() for each in template.image_pull_secrets]
    if template.runtime_class_name:
        pod["runtimeClassName"] = template.runtime_class_name
    identity = {EXPERIMENT_LABEL: owner.metadata.name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, building.job, COMPONENT, identity),
        "spec": {
            **tried_once(RETRIES, settings.deadline_seconds, KEPT_SECONDS),
            "template": {
                "metadata": {"labels": {**labels(COMPONENT, owner.metadata.name), **identity}},
                "spec": pod,
            },
        },
    }


def _init_containers(building: Building, settings: JobSettings) -> list[Json]:
    tools = _container(TOOLS_CONTAINER, settings.operator_image, settings)
    tools["command"] = ["python", "-m", _OBJECTS, "tools", building.recipe, _WORK]
    tools["envFrom"] = [{"secretRef": {"name": READER_SECRET}}]
    build = _container(BUILD_CONTAINER, building.image, settings, _variables(settings))
    build["command"] = ["sh", "-c", _BUILD]
    # Packages are built there as their authors wrote it, who may write anywhere.
    build["securityContext"] = {**CONTAINER_SECURITY, "readOnlyRootFilesystem": False}
    made = [tools]
    if building.conda:
        conda = _container(CONDA_CONTAINER, settings.operator_image, settings, _variables(settings))
        conda["command"] = [*_PROGRAM, "conda", _WORK, ENVIRONMENT]
        made.append(conda)
    for each in (*made[1:], build):
        each["envFrom"] = [json.loads(json.dumps(source)) for source in settings.env_from]
        if settings.resources:
            each["resources"] = json.loads(json.dumps(settings.resources))
    return [*made, build]


def _upload(building: Building, settings: JobSettings) -> Json:
    upload = _container(UPLOAD_CONTAINER, settings.operator_image, settings)
    upload["command"] = [*_PROGRAM, "upload", building.key, _WORK, ENVIRONMENT]
    upload["env"] += [
        {
            "name": f"MODELYARD_{name.upper()}_URL",
            "valueFrom": {"secretKeyRef": {"name": SECRET, "key": f"{building.job}.{name}"}},
        }
        for name in UPLOADS
    ]
    return upload


def _container(name: str, image: str, settings: JobSettings, variables: Mapping[str, str] | None = None) -> Json:
    fixed = {"HOME": "/tmp", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: S108 - a volume
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        "env": [{"name": key, "value": value} for key, value in {**fixed, **(variables or {})}.items()],
        "resources": _SMALL,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "work", "mountPath": _WORK},
            {"name": "environment", "mountPath": ENVIRONMENT},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - inside the container
        ],
    }


def _variables(settings: JobSettings) -> dict[str, str]:
    variables = {"MODELYARD_SECONDS": str(settings.deadline_seconds)}
    if settings.index_url:
        variables["UV_DEFAULT_INDEX"] = settings.index_url
    if settings.channel_alias:
        variables["CONDA_CHANNEL_ALIAS"] = settings.channel_alias
    return variables
