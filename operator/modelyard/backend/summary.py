"""What `mlflow run` says at its end: how it ended, the best run, and where to look."""

from __future__ import annotations

from modelyard.api.common import Condition
from modelyard.api.experiment import Experiment

_SHOWN = 5


def lines(experiment: Experiment, condition: Condition, tracking_uri: str, run_id: str | None) -> list[str]:
    """Return the lines for the terminal."""
    status, metadata = experiment.status, experiment.metadata
    said = [f"Experiment {metadata.namespace}/{metadata.name}: {condition.reason}: {condition.message}"]
    said += [f"  {failed.name}: {failed.reason}: {failed.message}" for failed in status.failures[:_SHOWN]]
    if best := status.best_run:
        objective = experiment.spec.objective
        value = best.metrics.get(objective.metric) if objective else None
        measured = f": {objective.metric} {value}" if objective and value is not None else ""
        said.append(f"  best run {best.name or best.run_id}{measured}")
    if version := status.registered:
        said.append(f"  registered as version {version.version} of {version.model}")
    if run_id and status.experiment_id:
        said.append(f"  MLflow: {page(tracking_uri, status.experiment_id, run_id)}")
    return [*said, f"  kubectl modelyard runs {metadata.name} -n {metadata.namespace}"]


def page(tracking_uri: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page in MLflow."""
    return f"{tracking_uri.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"


def going_on(namespace: str, name: str) -> list[str]:
    """Return what is said to somebody who stops waiting."""
    return [
        f"Experiment {namespace}/{name} goes on in the cluster.",
        f"  follow it: kubectl modelyard runs {name} -n {namespace} --watch",
        f"  start no further trial: kubectl modelyard suspend {name} -n {namespace}",
        f"  stop it: kubectl delete experiment {name} -n {namespace}",
    ]
