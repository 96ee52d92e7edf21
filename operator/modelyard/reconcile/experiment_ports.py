"""What reconciling an Experiment needs of the world outside of the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import CleanUpStatus, RegisteredVersion
from modelyard.api.project_files import Directory, ProjectFiles, TrialEnvironment
from modelyard.decide.experiment_model import Problem, Run, RunStatus
from modelyard.projects.mlproject import Environment
from modelyard.reconcile.environments import Ready, Waiting
from modelyard.tracking.client import LoggedModel


class Tracking(Protocol):
    """The tracking server; see `tracking.client.TrackingClient`. Everything may raise `TrackingError`."""

    def ensure_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the experiment of this name."""

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str], start_time: int) -> Run:
        """Create a run."""

    def get_run(self, run_id: str) -> Run | None:
        """Return a run; None where there is none."""

    def log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Log parameters."""

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""

    def search_runs(
        self,
        experiment_id: str,
        tags: Mapping[str, str],
        *,
        without: Mapping[str, str] | None = None,
        running: bool = False,
    ) -> list[Run]:
        """Return runs by their tags."""

    def metric_history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return what a run logged of a metric: steps and values."""

    def end_run(self, run_id: str, status: RunStatus, end_time: int) -> None:
        """Mark a run as ended."""

    def logged_models(self, run_id: str) -> list[LoggedModel]:
        """Return the models that a run logged."""

    def put_artifact(self, run: Run, path: str, data: bytes) -> None:
        """Write an artifact of a run."""


class Logs(Protocol):
    """Keeps the logs of trials; see `reconcile.trial_logs.TrialLogs`."""

    def keep(self, namespace: str, job_name: str, run: Run) -> None:
        """Write the last lines of a failed trial's log to its run."""


class Registers(Protocol):
    """Registers models; see `reconcile.experiment_registration.Registrar`."""

    def __call__(self, experiment: Experiment, best: Run) -> RegisteredVersion | Problem:
        """Return the version that the run's model has become, or why it could not."""


class Retains(Protocol):
    """Deletes what retention does not keep; see `reconcile.run_retention.RunRetention`."""

    def apply(self, experiment: Experiment, now: datetime) -> CleanUpStatus | None:
        """Delete some, and return what the status is to say; None where it says it. Raises nothing."""

    def again_after(self, experiment: Experiment, now: datetime) -> float | None:
        """Return in how many seconds to look again although nothing has changed; None for never."""


class MakesEnvironments(Protocol):
    """Makes environments; see `reconcile.environments.Environments`."""

    def ensure(
        self,
        experiment: Experiment,
        files: ProjectFiles,
        directory: Directory | None,
        environment: Environment | None,
        image: str,
        *,
        again: TrialEnvironment | None = None,
        since: datetime | None = None,
    ) -> Ready | Waiting | Problem:
        """Return the environment, what it waits for, or why it cannot be had."""
