"""The operator's process: `python -m modelyard`."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import kopf

from modelyard.api.names import GROUP
from modelyard.artifacts import store as artifacts
from modelyard.cluster import client as cluster
from modelyard.handlers.wiring import Wiring
from modelyard.reconcile.base import Reconciler
from modelyard.reconcile.experiment import ExperimentReconciler
from modelyard.reconcile.modeldeployment import ModelDeploymentReconciler
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.registry.registry import Registry
from modelyard.settings import Settings, SettingsError
from modelyard.sources.git import GitSource
from modelyard.tracking.client import TrackingClient

log = logging.getLogger("modelyard")

HEALTH = "http://0.0.0.0:8080/healthz"
INACTIVITY_SECONDS = 90.0
"""A watch that has been silent for longer than the API server's bookmarks are apart is dead."""


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


def reconcilers(settings: Settings) -> dict[str, Reconciler]:
    """Return what reconciles each kind, on real connections."""
    client = cluster.Client(cluster.connect())
    store = artifacts.ArtifactStore(settings)
    registry = Registry(client, store, now)
    tracking = TrackingClient(settings.tracking_uri)
    return {
        "Experiment": ExperimentReconciler(client, tracking, GitSource(), registry, settings, now),
        "RegisteredModel": RegisteredModelReconciler(client, store, now, registry=registry),
        "ModelDeployment": ModelDeploymentReconciler(client, settings, now, registry.state_of),
    }


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: it watches, and writes nothing of its own."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.inactivity_timeout = INACTIVITY_SECONDS
    settings.networking.request_timeout = 30
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    return settings


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Return kopf's credentials: the official client's, those of the pod or of KUBECONFIG."""
    return kopf.login_via_client(**kwargs)


def main() -> int:
    """Run until a signal comes; return the exit code."""
    kopf.configure(log_format=kopf.LogFormat.FULL)
    # What happened to an object is said once, by its reconciler; events and probes are not worth a line each.
    for chatty in ("httpx", "kopf.objects", "kopf.activities", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        log.error("%s", error)
        return 2
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    running = kopf_settings()
    Wiring(reconcilers(settings)).register(registry, running)
    kopf.run(
        registry=registry,
        settings=running,
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        liveness_endpoint=HEALTH,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
