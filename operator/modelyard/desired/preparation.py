"""The Job that prepares a version for being served, and the Secret by which it may write three objects."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from modelyard.api.names import (
    MODEL_DIGEST_ANNOTATION,
    MODEL_NAME_ANNOTATION,
    MODEL_VERSION_LABEL,
    REGISTERED_MODEL_LABEL,
)
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.desired.common import CONTAINER_SECURITY, POD_SECURITY, Json, labels, metadata, tried_once
from modelyard.desired.reader import READER_SECRET

COMPONENT = "preparation"
CONTAINER = "preparation"
SECRET = "modelyard-preparation"  # noqa: S105 - the name of an object
"""One Secret of each namespace: Jobs have keys of their own in it, which are removed with what they were for."""

KEPT_SECONDS = 3600
"""How long a Job stays after it has ended, with its log."""

RETRIES = 1
"""How often a pod is replaced that the cluster took away. One that ends by itself is not tried again."""

_URLS = {
    "MODELYARD_PREPARATION_EVIDENCE_URL": "evidence",
    "MODELYARD_PREPARATION_MODEL_URL": "model",
    "MODELYARD_PREPARATION_ENVIRONMENT_URL": "environment",
}


@dataclass(frozen=True)
class Preparing:
    """One preparation: what of, and where to ask for requests that were answered lately (a URL), if anywhere."""

    job: str
    version: int
    artifact: str
    digest: str
    recent: str | None = None


@dataclass(frozen=True)
class JobSettings:
    """What of the installation the Job needs."""

    image: str
    pull_policy: str
    deadline_seconds: int
    resources: Mapping[str, Any] = field(default_factory=dict)
    env_from: tuple[Mapping[str, Any], ...] = ()
    index_url: str | None = None


def upload_secret(namespace: str, job: str, urls: Mapping[str, str]) -> Json:
    """Return the Job's part of the Secret: `urls` by `evidence`, `model` and `environment`; empty to take it back."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": SECRET, "namespace": namespace, "labels": labels("preparation", "modelyard")},
        "data": {f"{job}.{name}": b64encode(url.encode()).decode() for name, url in urls.items()},
    }


def left_over(secret: Json | None, now: datetime) -> set[str]:
    """Return the Jobs whose URLs in the Secret as it was read have expired: nobody has taken these back.

    What a URL says of itself: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    data = (secret or {}).get("data") or {}
    found = {key.partition(".")[0]: b64decode(value).decode() for key, value in data.items()}
    return {job for job, url in found.items() if _expires(url) < now}


def _expires(url: str) -> datetime:
    said = parse_qs(urlsplit(url).query)
    try:
        signed = datetime.strptime(said["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed + timedelta(seconds=int(said["X-Amz-Expires"][0]))
    except (KeyError, ValueError):
        return datetime.min.replace(tzinfo=UTC)


def upload_manager(field_manager: str, job: str) -> str:
    """Return the field manager of a Job's part: applying it leaves the parts of others as they are."""
    return f"{field_manager}-{job}"


def preparation_job(owner: RegisteredModel, preparing: Preparing, settings: JobSettings) -> Json:
    """Return the Job."""
    identity = {REGISTERED_MODEL_LABEL: owner.metadata.name, MODEL_VERSION_LABEL: str(preparing.version)}
    annotations = {MODEL_NAME_ANNOTATION: owner.model_name, MODEL_DIGEST_ANNOTATION: preparing.digest}
    meta = metadata(owner, preparing.job, COMPONENT, identity)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**meta, "annotations": annotations},
        "spec": {
            **tried_once(RETRIES, settings.deadline_seconds, KEPT_SECONDS),
            "template": {
                "metadata": {
                    "labels": {**labels(COMPONENT, owner.metadata.name), **identity},
                    "annotations": annotations,
                },
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 5,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": POD_SECURITY,
                    "containers": [_container(owner, preparing, settings)],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def _container(owner: RegisteredModel, preparing: Preparing, settings: JobSettings) -> Json:
    container: Json = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["python", "-m", "modelyard_serving.preparation"],
        "env": [
            *({"name": name, "value": value} for name, value in _values(owner, preparing, settings).items()),
            *({"name": name, "valueFrom": _uploads(preparing.job, part)} for name, part in _URLS.items()),
        ],
        "envFrom": [*(dict(each) for each in settings.env_from), {"secretRef": {"name": READER_SECRET}}],
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the container
    }
    if settings.resources:
        container["resources"] = json.loads(json.dumps(settings.resources))
    return container


def _uploads(job: str, part: str) -> Json:
    return {"secretKeyRef": {"name": SECRET, "key": f"{job}.{part}"}}


def _values(owner: RegisteredModel, preparing: Preparing, settings: JobSettings) -> dict[str, str]:
    values = {
        "HOME": "/tmp",  # noqa: S108 - a volume of the pod's own
        "PYTHONUNBUFFERED": "1",
        "MODELYARD_MODEL_NAME": owner.model_name,
        "MODELYARD_MODEL_VERSION": str(preparing.version),
        "MODELYARD_MODEL_SOURCE": preparing.artifact,
        "MODELYARD_MODEL_DIGEST": preparing.digest,
        "MODELYARD_PREPARATION_IMAGE": settings.image,
        "MODELYARD_PREPARATION_SECONDS": str(settings.deadline_seconds),
    }
    if preparing.recent:
        values["MODELYARD_PREPARATION_RECENT_URL"] = preparing.recent
    if settings.index_url:
        values["UV_DEFAULT_INDEX"] = settings.index_url
    return values
