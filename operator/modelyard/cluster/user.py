"""A person's connection to the cluster: a context of a kubeconfig, as kubectl chooses it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import kubernetes.client
from kubernetes.config import ConfigException, kube_config, load_incluster_config
from yaml import YAMLError

from modelyard.cluster.client import Client

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoConnection(Exception):
    """There is no usable kubeconfig or no such context; the message says which."""


@dataclass(frozen=True)
class Connection:
    """A client, and the namespace that the context names."""

    client: Client
    namespace: str


def connect(kubeconfig: str | None, context: str | None) -> Connection:
    """Connect as kubectl would: `kubeconfig`, else KUBECONFIG (one or several files), else ~/.kube/config.

    Inside a pod without any of them, the pod's service account is used. Raises `NoConnection`.
    """
    configuration = kubernetes.client.Configuration()
    try:
        contexts, active = kube_config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
        if context is not None:
            active = next((each for each in contexts if each["name"] == context), None)
            if active is None:
                raise NoConnection(f"the kubeconfig has no context {context!r}")
        kube_config.load_kube_config(kubeconfig, context, configuration, persist_config=False)  # type: ignore[no-untyped-call]
        namespace = (active.get("context") or {}).get("namespace") or "default"
    except (ConfigException, YAMLError, OSError) as error:
        if kubeconfig is not None or context is not None or not (_SERVICE_ACCOUNT / "token").exists():
            raise NoConnection(f"cannot read the kubeconfig: {error}") from error
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        namespace = (_SERVICE_ACCOUNT / "namespace").read_text().strip()
    # Retrying inside the transport would hide faults and could repeat a write.
    configuration.retries = False
    return Connection(Client(kubernetes.client.ApiClient(configuration)), namespace)
