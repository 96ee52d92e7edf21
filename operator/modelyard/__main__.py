"""The operator's process: `python -m modelyard`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kopf

from modelyard.api.names import GROUP
from modelyard.artifacts import store as artifacts
from modelyard.cluster import client as cluster
from modelyard.cluster.cache import ObjectCache
from modelyard.cluster.cached import CachedClient
from modelyard.cluster.feed import Feed, kinds
from modelyard.handlers.records_api import RecordsApi
from modelyard.handlers.wiring import SENDERS, WORKERS, Wiring
from modelyard.metrics.scrape import Scraper
from modelyard.notify.hosts import check_url
from modelyard.notify.sender import Sender
from modelyard.reconcile.base import Reconciler
from modelyard.reconcile.declared import DeclaredVersions
from modelyard.reconcile.deployment_analysis import DeploymentAnalysis
from modelyard.reconcile.experiment_parts import experiment_reconciler
from modelyard.reconcile.gates import Gates
from modelyard.reconcile.modeldeployment import ModelDeploymentReconciler
from modelyard.reconcile.preparation import Preparations
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.reconcile.retention import RetentionFollower
from modelyard.reconcile.webhooks import WebhookReconciler
from modelyard.registry.registry import Registry
from modelyard.registry.revision import git_revision
from modelyard.settings import Settings, SettingsError
from modelyard.tracking.client import TrackingClient

log = logging.getLogger("modelyard")

HEALTH = "http://0.0.0.0:8080/healthz"
INACTIVITY_SECONDS = 90.0
"""A watch that has been silent for longer than the API server's bookmarks are apart is dead."""


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Connections:
    """What all parts stand on."""

    client: cluster.Client
    cache: ObjectCache
    cached: CachedClient
    """For what is reconciled often; the others ask the API server."""
    store: artifacts.ArtifactStore
    registry: Registry

    @classmethod
    def open(cls, settings: Settings) -> Connections:
        """Return real ones."""
        client, store = cluster.Client(cluster.connect(WORKERS + SENDERS)), artifacts.ArtifactStore(settings)
        cache = ObjectCache(kinds())
        return cls(client, cache, CachedClient(client, cache), store, Registry(client, store, now))


def reconcilers(settings: Settings, connections: Connections) -> dict[str, Reconciler]:
    """Return what reconciles each kind."""
    client, store, registry = connections.client, connections.store, connections.registry
    tracking = TrackingClient(settings.tracking_uri)
    return {
        "Experiment": experiment_reconciler(client, store, tracking, registry, settings, now),
        "RegisteredModel": RegisteredModelReconciler(
            client,
            store,
            now,
            registry=registry,
            editors_known=settings.editor_policy is not None,
            judge=Gates(client, store, tracking, registry.ledger, settings=settings, clock=now),
            revision=lambda model, manager: git_revision(client, model.metadata, manager, settings),
            followers=(
                DeclaredVersions(registry),
                RetentionFollower(client, store, registry, settings.artifacts_destination, now),
            ),
        ),
        "ModelDeployment": ModelDeploymentReconciler(
            connections.cached,
            settings,
            now,
            registry.state_of,
            DeploymentAnalysis(connections.cached, Scraper(check_url=_prometheus(settings))),
            preparations=Preparations(client, store, registry, settings, now) if settings.preparation else None,
        ),
    }


def _prometheus(settings: Settings) -> Callable[[str], object]:
    """Return what lets an analysis ask only the Prometheus servers that the installation allows."""
    return lambda url: check_url(
        url, settings.prometheus_hosts, of="Prometheus check", variable="MODELYARD_PROMETHEUS_HOSTS"
    )


class NothingHandled(kopf.DiffBaseStorage):
    """Keeps no last handled state: there is no handler of changes, for which kopf would copy every object twice."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return what is compared: nothing."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Return what was stored: nothing."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: it watches, and writes nothing of its own."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.inactivity_timeout = INACTIVITY_SECONDS
    settings.networking.request_timeout = 30
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = NothingHandled()
    # The worker of an object and the last event of it stay in memory for so long.
    settings.queueing.idle_timeout = 1.0
    settings.watching.chunk_size = 100
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
    connections = Connections.open(settings)
    webhooks = WebhookReconciler(connections.client, connections.registry, Sender(settings.webhook_hosts), now)
    feed = Feed(connections.client, connections.cache, settings.watch_namespaces)
    Wiring(reconcilers(settings, connections), webhooks, connections.cache, feed).register(registry, running)
    if settings.records_token:
        RecordsApi(
            connections.store,
            settings.artifacts_destination,
            settings.records_token,
            namespaces=settings.watch_namespaces,
        ).register(registry)
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
