"""Finds the MLflow run that stands for an Experiment's execution, by the tags that the operator gives it."""

from __future__ import annotations

from mlflow import active_run
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from modelyard.api.experiment import Experiment
from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, PARENT, TRIAL_TAG

_PAGE = 1000


class Runs:
    """The runs of one tracking server."""

    def __init__(self, client: MlflowClient, tracking_uri: str) -> None:
        self._client = client
        self.tracking_uri = tracking_uri

    def find(self, experiment: Experiment) -> str | None:
        """Return the id of the present execution's parent run, or of its only one; None where there is none yet.

        In a workflow of several steps it is nested below the run that is active here, as MLflow's own backends do.
        Raises `mlflow.exceptions.MlflowException`.
        """
        status = experiment.status
        if not (status.experiment_id and status.execution):
            return None
        trial = PARENT if experiment.spec.sweep else "0"
        found = self._search(experiment, f" and tags.`{TRIAL_TAG}` = '{trial}'")
        if not found:
            return None
        run_id = str(found[0].info.run_id)
        outer = active_run()
        if outer is not None and MLFLOW_PARENT_RUN_ID not in found[0].data.tags:
            self._client.set_tag(run_id, MLFLOW_PARENT_RUN_ID, outer.info.run_id)
        return run_id

    def status(self, run_id: str) -> str:
        """Return MLflow's state of the run: RUNNING, FINISHED, FAILED, KILLED."""
        return str(self._client.get_run(run_id).info.status)

    def kill(self, experiment: Experiment) -> None:
        """End the runs of the present execution that nobody will end any more."""
        if not (experiment.status.experiment_id and experiment.status.execution):
            return
        for run in self._search(experiment, " and attributes.status = 'RUNNING'"):
            self._client.set_terminated(run.info.run_id, "KILLED")

    def _search(self, experiment: Experiment, more: str) -> list[Run]:
        metadata, status = experiment.metadata, experiment.status
        assert status.experiment_id is not None
        wanted = (
            f"tags.`{EXPERIMENT_TAG}` = '{metadata.namespace}/{metadata.name}'"
            f" and tags.`{EXECUTION_TAG}` = '{status.execution}'{more}"
        )
        found: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs([status.experiment_id], wanted, max_results=_PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found
