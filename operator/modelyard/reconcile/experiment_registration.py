"""Registers the model of an Experiment's best run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from modelyard.api.experiment import Experiment, Registration
from modelyard.api.experiment_status import RegisteredVersion
from modelyard.api.model_status import VersionStatus
from modelyard.api.names import FIELD_MANAGER
from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import ArtifactMissing, ArtifactStoreUnreachable
from modelyard.decide.experiment_model import Problem, Run, RunStatus
from modelyard.registry.objects import Contended, RegistryError
from modelyard.registry.registry import Candidate
from modelyard.registry.sources import directory
from modelyard.tracking.client import LoggedModel

log = logging.getLogger(__name__)


class Tracking(Protocol):
    """What an Experiment needs of the tracking server; see `tracking.client.TrackingClient`."""

    def ensure_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the experiment of this name."""

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str], start_time: int) -> Run:
        """Create a run."""

    def log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Log parameters."""

    def search_runs(
        self,
        experiment_id: str,
        tags: Mapping[str, str],
        *,
        without: Mapping[str, str] | None = None,
        running: bool = False,
    ) -> list[Run]:
        """Return runs by their tags."""

    def end_run(self, run_id: str, status: RunStatus, end_time: int) -> None:
        """Mark a run as ended."""

    def logged_models(self, run_id: str) -> list[LoggedModel]:
        """Return the models that a run logged."""


class Models(Protocol):
    """What an Experiment needs of the registry; see `registry.registry.Registry`."""

    def ensure_model(self, namespace: str, model_name: str, field_manager: str) -> RegisteredModel:
        """Return the model, which is created where it is missing."""

    def register_once(self, namespace: str, model_name: str, candidate: Candidate, key: str) -> VersionStatus:
        """Register a version, or return the one that was registered under `key`."""


class Registrar:
    """Registers a run's model, once however often it is called."""

    def __init__(self, tracking: Tracking, models: Models, artifacts_destination: str) -> None:
        self._tracking = tracking
        self._models = models
        self._destination = artifacts_destination

    def __call__(self, experiment: Experiment, best: Run) -> RegisteredVersion | Problem:
        """Return the version that the run's model has become, or why it could not. Raises `TrackingError`."""
        register = experiment.spec.register_
        assert register is not None
        # Another artifact of the same run is another version.
        namespace, key = experiment.metadata.namespace, f"{best.run_id}/{register.artifact_path}"
        try:
            candidate = self._candidate(experiment, register, best)
            self._models.ensure_model(namespace, register.model, FIELD_MANAGER)
            version = self._models.register_once(namespace, register.model, candidate, key).version
        except ArtifactMissing as error:
            message = f"run {best.name} has no model {register.artifact_path!r}: {error}"
            return Problem(Reason.REGISTRATION_FAILED, message)
        except ArtifactStoreUnreachable as error:
            return Problem(Reason.ARTIFACT_STORE_UNREACHABLE, str(error), transient=True)
        except RegistryError as error:
            return Problem(Reason.REGISTRATION_FAILED, str(error), transient=isinstance(error, Contended))
        log.info(
            "experiment %s/%s: run %s is version %s of %s",
            namespace,
            experiment.metadata.name,
            best.run_id,
            version,
            register.model,
        )
        return RegisteredVersion(model=register.model, version=version, run_id=best.run_id)

    def _candidate(self, experiment: Experiment, register: Registration, best: Run) -> Candidate:
        """Return where the model is: a logged model of that name, else a directory among the run's artifacts."""
        models = self._tracking.logged_models(best.run_id)
        logged = next((model for model in models if model.name == register.artifact_path), None)
        uri = logged.artifact_location if logged else f"{best.artifact_uri}/{register.artifact_path.strip('/')}"
        return Candidate(
            source=f"models:/{logged.model_id}" if logged else uri,
            artifact=directory(uri, self._destination),
            created_by=f"experiment/{experiment.metadata.name}",
            run_id=best.run_id,
            model_id=logged.model_id if logged else None,
        )
