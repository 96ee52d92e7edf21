"""MLflow's side: the project backend, and the run that it hands back.

Protocol: `mlflow.projects.backend.abstract_backend.AbstractBackend` and `mlflow.projects.submitted_run.SubmittedRun`.
MLflow makes no run for a backend that is a plugin: it sets tags on the one that `run_id` names, and on the command line
it does not wait, whatever the backend. So `run` waits itself there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
from mlflow.exceptions import ExecutionException, MlflowException
from mlflow.projects.backend.abstract_backend import AbstractBackend
from mlflow.projects.submitted_run import SubmittedRun
from mlflow.tracking import MlflowClient

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.backend import config as configuration
from modelyard.backend import summary
from modelyard.backend.errors import BackendError
from modelyard.backend.follow import EXPERIMENTS, Follower, has_ended
from modelyard.backend.manifest import MANAGER
from modelyard.backend.runs import Runs
from modelyard.backend.submit import Submission
from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.user import Connection, NoConnection, connect


def say(text: str) -> None:
    """Say something about the run: beside the logs, which are the program's own."""
    print(text, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Show a line of a trial's log."""
    print(text, flush=True)


class ModelyardBackend(AbstractBackend):
    """Runs an MLproject as an Experiment of Modelyard."""

    connect = staticmethod(connect)

    def run(  # noqa: PLR0917 - MLflow's
        self,
        project_uri: str,
        entry_point: str,
        params: Mapping[str, Any] | None,
        version: str | None,
        backend_config: Mapping[str, Any] | str | None,
        tracking_uri: str,
        experiment_id: str,
    ) -> ModelyardRun:
        """Make an Experiment and return once it has a run; on MLflow's command line, once it has ended.

        Raises `mlflow.exceptions.ExecutionException` where it cannot be run, or did not end well while this waited.
        """
        try:
            config = configuration.read(backend_config)
            connection = self._connection(config.options)
            mlflow = MlflowClient(tracking_uri)
            submission = Submission(connection.client, mlflow, config, tracking_uri)
            namespace = config.options.namespace or connection.namespace
            asked = submission(namespace, project_uri, entry_point, params or {}, version, experiment_id)
        except (BackendError, NoConnection, ApiError) as error:
            raise ExecutionException(str(error)) from error
        except MlflowException as error:
            raise ExecutionException(f"{tracking_uri}: {error}") from error
        wanted = config.options.follow
        # Where MLflow waits it calls `wait` itself, once it has been given a run.
        waits = not config.synchronous and (_on_the_command_line() if wanted is None else wanted)
        shown = show if config.options.logs and (waits or config.synchronous) else None
        follower = Follower(connection.client, asked, say=say, show=shown)
        submitted = ModelyardRun(follower, Runs(mlflow, tracking_uri), connection.client, made=submission.made)
        say(f"{asked}: {'made' if submission.made else 'asked to run once more'}")
        try:
            return submitted.ended() if waits else submitted.begun()
        except KeyboardInterrupt:
            for line in summary.going_on(asked.namespace, asked.name):
                say(line)
            raise

    def _connection(self, options: configuration.Options) -> Connection:
        return self.connect(options.kubeconfig, options.context)


def _on_the_command_line() -> bool:
    """Whether `mlflow run` calls: it does not wait for a plugin's run, and ends well whatever comes of it."""
    context = click.get_current_context(silent=True)
    return context is not None and context.info_name == "run"


class ModelyardRun(SubmittedRun):
    """An Experiment that was asked to run: its parent run in MLflow, or its only one."""

    def __init__(self, follower: Follower, runs: Runs, client: Client, *, made: bool) -> None:
        """`made` says whether the Experiment was made for this run alone."""
        super().__init__()
        self._follower = follower
        self._runs = runs
        self._client = client
        self._made = made
        self._run_id: str | None = None
        self._outcome = ""

    @property
    def run_id(self) -> str:
        """The run's id in MLflow: there is one once `begun` has returned."""
        assert self._run_id is not None
        return self._run_id

    def begun(self) -> ModelyardRun:
        """Return once there is a run. Raises `ExecutionException` where it ends before."""
        self._until(lambda condition: self._run_id is not None or has_ended(condition))
        return self

    def ended(self) -> ModelyardRun:
        """Return once it has ended well. Raises `ExecutionException` where it did not."""
        if not self.wait():
            raise ExecutionException(self._outcome)
        return self

    def wait(self) -> bool:
        """Wait for the end, and say how it ended. Return whether it ended well."""
        experiment, condition = self._until(has_ended)
        succeeded = condition.status is ConditionStatus.TRUE
        self._outcome, *more = summary.lines(experiment, condition, self._runs.tracking_uri, self._run_id)
        for line in [self._outcome, *more] if succeeded else more:
            say(line)
        return succeeded

    def get_status(self) -> str:
        """Return MLflow's state of the run."""
        return self._runs.status(self.run_id)

    def cancel(self) -> None:
        """Stop it.

        An Experiment that was made for this run is deleted, its Jobs with it, and its runs end as KILLED. One that
        has a name of its own keeps its history: it is suspended, so that no further trial starts.
        """
        asked = self._follower.asked
        try:
            experiment = self._follower.look()
        except BackendError:
            return
        if not self._made:
            patch = {"spec": {"suspend": True}}
            self._client.merge_patch(EXPERIMENTS, asked.namespace, asked.name, patch, MANAGER)
            say(f"{asked}: suspended; trials that run go on")
            return
        self._client.delete(EXPERIMENTS, asked.namespace, asked.name, uid=asked.uid)
        self._follower.until_jobs_are_gone()
        self._runs.kill(experiment)
        say(f"{asked}: deleted")

    def _until(self, reached: Callable[[Condition | None], bool]) -> tuple[Experiment, Condition]:
        """Wait, and find the run as soon as there is one. Raises `ExecutionException` where there will be none."""

        def look(experiment: Experiment, condition: Condition | None) -> bool:
            if condition is not None and self._run_id is None:
                self._run_id = self._runs.find(experiment)
                if self._run_id and experiment.status.experiment_id:
                    page = summary.page(self._runs.tracking_uri, experiment.status.experiment_id, self._run_id)
                    say(f"MLflow: {page}")
            return reached(condition)

        try:
            experiment, condition = self._follower.until(look)
        except BackendError as error:
            raise ExecutionException(str(error)) from error
        assert condition is not None
        if self._run_id is None:
            raise ExecutionException(self._without_run(experiment, condition))
        return experiment, condition

    def _without_run(self, experiment: Experiment, condition: Condition) -> str:
        said = f"{self._follower.asked}: {condition.reason}: {condition.message}"
        if experiment.status.runs and experiment.status.runs.total and experiment.status.experiment_id:
            return f"{said}; but {self._runs.tracking_uri} does not have its run: is it the installation's server?"
        return said
