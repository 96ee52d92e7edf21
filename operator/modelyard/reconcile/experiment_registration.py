"""Registers the model of an Experiment's best run."""

from __future__ import annotations

import logging
from typing import Protocol

from modelyard.api.experiment import Experiment, Registration
from modelyard.api.experiment_status import RegisteredVersion
from modelyard.api.model_status import VersionStatus
from modelyard.api.names import FIELD_MANAGER
from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import ArtifactMissing, ArtifactStoreUnreachable
from modelyard.decide.experiment_model import Problem, Run
from modelyard.decide.lineage import lineage
from modelyard.decide.run_retention import PARENT_TAG
from modelyard.registry.objects import Contended, RegistryError
from modelyard.registry.registry import Candidate
from modelyard.registry.sources import directory
from modelyard.tracking.client import LoggedModel

log = logging.getLogger(__name__)

_LEVELS = 5
"""How far up lineage is looked for: a parent, a trial, a run that it made, and what that made in turn."""


class Tracking(Protocol):
    """What is needed of the tracking server; see `tracking.client.TrackingClient`."""

    def get_run(self, run_id: str) -> Run | None:
        """Return a run; None where there is none."""

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
            tags=lineage(experiment, self._with_those_above(best)),
        )

    def _with_those_above(self, run: Run) -> list[Run]:
        """Return the run, the trial whose program made it if one did, and the parent of a sweep."""
        runs = [run]
        while (above := runs[-1].tags.get(PARENT_TAG)) and len(runs) < _LEVELS:
            parent = self._tracking.get_run(above)
            if parent is None:
                break
            runs.append(parent)
        return runs
