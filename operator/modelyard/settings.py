"""The installation's settings, from the environment that the chart sets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

_GIT_MANAGERS = "argocd-controller,argocd-application-controller,kustomize-controller,helm-controller,helm"


class SettingsError(Exception):
    """A variable is missing or has a value that cannot be used; the message names it."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """What every part needs that keeps or reads records: the operator, the tracking server, the install-time job."""

    artifact_store: str
    """MODELYARD_ARTIFACT_STORE: s3://<bucket>[/<prefix>], the root of everything that Modelyard keeps."""

    s3_endpoint: str | None
    """MODELYARD_S3_ENDPOINT: the S3 endpoint for the operator, the tracking server and model pods; None for AWS."""

    s3_region: str
    """AWS_DEFAULT_REGION."""

    git_managers: tuple[str, ...]
    """MODELYARD_GIT_MANAGERS: field managers whose fields the MLflow client may not change."""

    argocd_namespace: str | None = "argocd"
    """MODELYARD_ARGOCD_NAMESPACE: where Argo CD keeps its Applications, which know the Git revision behind an edit.
    None (set, but empty) where they are not to be asked."""

    @property
    def bucket(self) -> str:
        """The bucket of the artifact store."""
        return self.artifact_store.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """The key prefix within the bucket, without slashes at its ends; may be empty."""
        return self.artifact_store.removeprefix("s3://").partition("/")[2].strip("/")

    @property
    def artifacts_destination(self) -> str:
        """Where the tracking server keeps artifacts: what `mlflow-artifacts:/` stands for."""
        return f"{self.artifact_store.rstrip('/')}/artifacts"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read and check the variables. Raises `SettingsError`."""
        return cls(**_store_fields(environment))


@dataclass(frozen=True, kw_only=True)
class RegistrySettings(StoreSettings):
    """What the tracking server's registry store needs besides."""

    transition_timeout: float
    """MODELYARD_TRANSITION_TIMEOUT: how long the MLflow client's transition waits for the verdict, in seconds."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read and check the variables. Raises `SettingsError`."""
        timeout = environment.get("MODELYARD_TRANSITION_TIMEOUT") or "30"
        try:
            return cls(**_store_fields(environment), transition_timeout=float(timeout))
        except ValueError as error:
            raise SettingsError(f"MODELYARD_TRANSITION_TIMEOUT must be a number of seconds, not {timeout!r}") from error


@dataclass(frozen=True, kw_only=True)
class PreparationSettings:
    """How versions are prepared before they are served."""

    deadline_seconds: int = 900
    """MODELYARD_PREPARATION_DEADLINE_SECONDS: how long a Job may take."""

    wait_seconds: int = 300
    """MODELYARD_PREPARATION_WAIT_SECONDS: how long a version's first pods wait for it."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    """MODELYARD_PREPARATION_RESOURCES: of the Job's container, JSON."""

    env_from: tuple[Mapping[str, Any], ...] = ()
    """MODELYARD_PREPARATION_ENV_FROM: a JSON list of sources of further variables, as in a container's `envFrom`."""

    index_url: str | None = None
    """MODELYARD_PREPARATION_INDEX_URL: the package index that environments are built from; None for uv's default."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """Return None unless MODELYARD_PREPARATION is true. Raises `SettingsError`."""
        if environment.get("MODELYARD_PREPARATION", "").lower() != "true":
            return None
        return cls(
            deadline_seconds=_seconds(environment, "MODELYARD_PREPARATION_DEADLINE_SECONDS", cls.deadline_seconds),
            wait_seconds=_seconds(environment, "MODELYARD_PREPARATION_WAIT_SECONDS", cls.wait_seconds),
            resources=_json(environment, "MODELYARD_PREPARATION_RESOURCES", dict),
            env_from=tuple(_json(environment, "MODELYARD_PREPARATION_ENV_FROM", list)),
            index_url=environment.get("MODELYARD_PREPARATION_INDEX_URL") or None,
        )


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings:
    """How the environments of projects are made."""

    enabled: bool = True
    """MODELYARD_ENVIRONMENTS: whether they are; otherwise every trial runs with its image's libraries."""

    deadline_seconds: int = 1800
    """MODELYARD_ENVIRONMENTS_DEADLINE_SECONDS: how long a Job may take."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    """MODELYARD_ENVIRONMENTS_RESOURCES: of the containers that install and build, JSON."""

    env_from: tuple[Mapping[str, Any], ...] = ()
    """MODELYARD_ENVIRONMENTS_ENV_FROM: a JSON list of sources of further variables, as in a container's `envFrom`."""

    index_url: str | None = None
    """MODELYARD_ENVIRONMENTS_INDEX_URL: the package index; None for uv's default."""

    channel_alias: str | None = None
    """MODELYARD_ENVIRONMENTS_CHANNEL_ALIAS: http(s)://…, below which conda channels are that have a name only; None
    for conda's own places."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check the variables. Raises `SettingsError`."""
        name = "MODELYARD_ENVIRONMENTS"
        return cls(
            enabled=environment.get(name, "true").lower() == "true",
            deadline_seconds=_seconds(environment, f"{name}_DEADLINE_SECONDS", cls.deadline_seconds),
            resources=_json(environment, f"{name}_RESOURCES", dict),
            env_from=tuple(_json(environment, f"{name}_ENV_FROM", list)),
            index_url=environment.get(f"{name}_INDEX_URL") or None,
            channel_alias=environment.get(f"{name}_CHANNEL_ALIAS") or None,
        )


@dataclass(frozen=True, kw_only=True)
class Settings(StoreSettings):
    """Read once, at the start."""

    tracking_uri: str
    """MODELYARD_TRACKING_URI: the MLflow tracking server, http(s)://…, as the operator and trials reach it."""

    reader_access_key: str | None
    """MODELYARD_READER_ACCESS_KEY_ID: read-only, for model pods; None where namespaces bring their own Secret."""

    reader_secret_key: str | None
    """MODELYARD_READER_SECRET_ACCESS_KEY."""

    serving_image: str
    """MODELYARD_SERVING_IMAGE."""

    training_image: str
    """MODELYARD_TRAINING_IMAGE: the default image of an Experiment's trials."""

    operator_image: str
    """MODELYARD_OPERATOR_IMAGE: used by the init container that fetches a git project."""

    image_pull_policy: str
    """MODELYARD_IMAGE_PULL_POLICY."""

    watch_namespaces: tuple[str, ...]
    """MODELYARD_WATCH_NAMESPACES: comma-separated; empty for the whole cluster."""

    webhook_hosts: tuple[str, ...] = ("*",)
    """MODELYARD_WEBHOOK_HOSTS: patterns of hosts that webhooks may be sent to, comma-separated; empty for none."""

    prometheus_hosts: tuple[str, ...] = ("*",)
    """MODELYARD_PROMETHEUS_HOSTS: patterns of hosts that an analysis may ask, comma-separated; empty for none."""

    records_token: str | None = None
    """MODELYARD_RECORDS_TOKEN: who shows it may read records; None where nobody may, and nothing is served."""

    approval_policy: str | None = None
    """MODELYARD_APPROVAL_POLICY: the ValidatingAdmissionPolicy, and its binding, that vouch for who made an Approval;
    None where there is none, and no approval counts."""

    editor_policy: str | None = None
    """MODELYARD_EDITOR_POLICY: the MutatingAdmissionPolicy that writes down who changed a stage; None where there is
    none, and what the annotations say is anybody's word."""

    operator_namespace: str | None = None
    """MODELYARD_OPERATOR_NAMESPACE: whose pods may read what model pods measure, also where a NetworkPolicy guards
    them; None where the operator runs outside of the cluster."""

    preparation: PreparationSettings | None = None
    """MODELYARD_PREPARATION: whether versions are prepared before they are served; None where they are not."""

    environments: EnvironmentSettings = EnvironmentSettings()
    """MODELYARD_ENVIRONMENTS: how the environments of projects are made."""

    node_cache: str | None = None
    """MODELYARD_NODE_CACHE: http://host:port, where model pods ask for what they download before they ask the store;
    None where there is no node cache."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read and check the variables. Raises `SettingsError`."""
        return cls(
            **_store_fields(environment),
            tracking_uri=_required(environment, "MODELYARD_TRACKING_URI").rstrip("/"),
            reader_access_key=environment.get("MODELYARD_READER_ACCESS_KEY_ID") or None,
            reader_secret_key=environment.get("MODELYARD_READER_SECRET_ACCESS_KEY") or None,
            serving_image=_required(environment, "MODELYARD_SERVING_IMAGE"),
            training_image=_required(environment, "MODELYARD_TRAINING_IMAGE"),
            operator_image=_required(environment, "MODELYARD_OPERATOR_IMAGE"),
            image_pull_policy=environment.get("MODELYARD_IMAGE_PULL_POLICY") or "IfNotPresent",
            watch_namespaces=_split(environment.get("MODELYARD_WATCH_NAMESPACES", "")),
            webhook_hosts=_split(environment.get("MODELYARD_WEBHOOK_HOSTS", "*")),
            prometheus_hosts=_split(environment.get("MODELYARD_PROMETHEUS_HOSTS", "*")),
            records_token=environment.get("MODELYARD_RECORDS_TOKEN") or None,
            approval_policy=environment.get("MODELYARD_APPROVAL_POLICY") or None,
            editor_policy=environment.get("MODELYARD_EDITOR_POLICY") or None,
            operator_namespace=environment.get("MODELYARD_OPERATOR_NAMESPACE") or None,
            preparation=PreparationSettings.from_environment(environment),
            environments=EnvironmentSettings.from_environment(environment),
            node_cache=environment.get("MODELYARD_NODE_CACHE") or None,
        )


def git_managers(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the field managers that work for a Git repository (MODELYARD_GIT_MANAGERS)."""
    return _split(environment.get("MODELYARD_GIT_MANAGERS", _GIT_MANAGERS))


def _store_fields(environment: Mapping[str, str]) -> dict[str, Any]:
    store = _required(environment, "MODELYARD_ARTIFACT_STORE")
    if not store.startswith("s3://") or not store.removeprefix("s3://").strip("/"):
        raise SettingsError(f"MODELYARD_ARTIFACT_STORE must be s3://<bucket>[/<prefix>], not {store!r}")
    return {
        "artifact_store": store,
        "s3_endpoint": environment.get("MODELYARD_S3_ENDPOINT") or None,
        "s3_region": environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        "git_managers": git_managers(environment),
        "argocd_namespace": environment.get("MODELYARD_ARGOCD_NAMESPACE", "argocd") or None,
    }


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _seconds(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not int(text):
        raise SettingsError(f"{name} must be a whole number of seconds, not {text!r}")
    return int(text)


def _json(environment: Mapping[str, str], name: str, kind: type[Any]) -> Any:
    text = environment.get(name) or ""
    try:
        value = json.loads(text) if text else kind()
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise SettingsError(f"{name} must be a JSON {'object' if kind is dict else 'list'}, not {text!r}")
    return value


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
