"""Puts together what reconciles Experiments."""

from __future__ import annotations

from modelyard.api.project_files import TrialEnvironment
from modelyard.artifacts.store import ArtifactMissing, ArtifactStore
from modelyard.cluster.client import Client
from modelyard.reconcile.base import Clock
from modelyard.reconcile.environments import Environments
from modelyard.reconcile.experiment import ExperimentReconciler, Parts
from modelyard.reconcile.experiment_registration import Registrar
from modelyard.reconcile.experiment_source import Git, ProjectSources
from modelyard.reconcile.experiment_trials import Trials
from modelyard.reconcile.run_retention import RunRetention
from modelyard.reconcile.trial_logs import TrialLogs
from modelyard.registry.registry import Registry
from modelyard.settings import Settings
from modelyard.tracking.client import TrackingClient

_LOCK_LIMIT = 8 << 20


class Locks:
    """Reads the lists of environments' packages."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._root = store.uri("").rstrip("/") + "/"

    def __call__(self, environment: TrialEnvironment) -> bytes | None:
        """Return the list; None where there is none. Raises `ArtifactError` where the store does not answer."""
        if not environment.lock_uri.startswith(self._root):
            return None
        try:
            return self._store.get_small(environment.lock_uri.removeprefix(self._root), _LOCK_LIMIT)
        except ArtifactMissing:
            return None


def experiment_reconciler(  # noqa: PLR0917 - each is a connection of the process
    client: Client,
    store: ArtifactStore,
    tracking: TrackingClient,
    registry: Registry,
    settings: Settings,
    clock: Clock,
    git: Git | None = None,
) -> ExperimentReconciler:
    """Return what reconciles Experiments; `git` takes the place of git servers."""
    parts = Parts(
        tracking=tracking,
        sources=ProjectSources(client, store, tracking.get_run, git, settings),
        environments=Environments(client, store, settings, clock),
        trials=Trials(client, tracking, TrialLogs(client, tracking), Locks(store), clock),
        registrar=Registrar(tracking, registry, settings.artifacts_destination),
        retention=RunRetention(tracking, client, registry, store),
    )
    return ExperimentReconciler(client, parts, settings, clock)
